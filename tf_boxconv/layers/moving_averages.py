"""Moving averages of boxes (`use_ema=True` of Keras's optimizers), made of constrained boxes.

In each step Keras first adds the weights to their averages, then applies the constraints (Keras
3.10 to 3.15). The averages would be of boxes that violate their constraint, and at the end of `fit`
they replace the boxes. The average of boxes that satisfy `BoxConstraint` satisfies it too.

No layer is called in between, so this replaces a method of Keras's optimizers. The replacement
applies the constraints of boxes, then calls the original. It is installed when the first layer with
constrained boxes is built, and touches no other weight.
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
    def constrain_and_update(self, trainable_variables, *args, **kwargs):
        if getattr(self, "use_ema", False):
            trainable_variables = list(trainable_variables)  # It may be an iterator.
            for variable in trainable_variables:
                constraint = getattr(variable, "constraint", None)
                if isinstance(constraint, StoredConstraint):
                    variable.assign(constraint(variable))
        return update(self, trainable_variables, *args, **kwargs)

    constrain_and_update.of_constrained_boxes = True
    setattr(keras.optimizers.Optimizer, _METHOD, constrain_and_update)
