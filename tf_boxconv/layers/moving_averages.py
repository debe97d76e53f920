"""Moving averages of boxes (`use_ema=True` of Keras's optimizers), made of constrained boxes.

In each step Keras first adds the weights to their averages, then applies the constraints (Keras
3.10 to 3.15). The averages would thus be of boxes that violate their constraint, and when `fit`
ends they become the boxes. No layer is asked in between, so the optimizers' method is changed
here. The average of boxes that satisfy `BoxConstraint` satisfies it too. Other weights are averaged
as ever.
"""

from __future__ import annotations

import functools

import keras

from tf_boxconv.layers.stored_units import StoredConstraint

_METHOD = "_update_model_variables_moving_average"


def average_constrained_boxes() -> None:
    """Makes optimizers apply the constraints of boxes before they update the averages."""
    update = getattr(keras.optimizers.Optimizer, _METHOD, None)
    if update is None or hasattr(update, "of_constrained_boxes"):
        return

    @functools.wraps(update)
    def constrain_and_update(self, trainable_variables):
        for variable in trainable_variables:
            if self.use_ema and isinstance(variable.constraint, StoredConstraint):
                variable.assign(variable.constraint(variable))
        return update(self, trainable_variables)

    constrain_and_update.of_constrained_boxes = True
    setattr(keras.optimizers.Optimizer, _METHOD, constrain_and_update)
