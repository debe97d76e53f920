"""Makes optimizers with `use_ema=True` apply the constraints of boxes before they average boxes.

Keras updates the averages first and applies the constraints second (Keras 3.10 to 3.15). At the end
of `fit` the averages replace the weights, and averages of unconstrained boxes may violate the
constraint. Averages of boxes that satisfy `BoxConstraint` satisfy it too.

A layer cannot intervene between the two. So the layers wrap a method of
`keras.optimizers.Optimizer` when they are built, once per process. The wrapper applies the
constraints of boxes, then calls the original method. Other weights are not affected.
"""

from __future__ import annotations

import functools

import keras

from tf_boxconv.layers.stored_units import StoredConstraint

_METHOD = "_update_model_variables_moving_average"


def average_constrained_boxes() -> None:
    """Makes optimizers apply the constraints of boxes before they update moving averages."""
    update = getattr(keras.optimizers.Optimizer, _METHOD, None)
    if update is None or hasattr(update, "constrains_boxes"):
        return

    @functools.wraps(update)
    def constrain_and_update(self, trainable_variables, *args, **kwargs):
        if getattr(self, "use_ema", False):
            trainable_variables = list(trainable_variables)  # May be an iterator.
            for variable in trainable_variables:
                constraint = getattr(variable, "constraint", None)
                if isinstance(constraint, StoredConstraint):
                    variable.assign(constraint(variable))
        return update(self, trainable_variables, *args, **kwargs)

    constrain_and_update.constrains_boxes = True
    setattr(keras.optimizers.Optimizer, _METHOD, constrain_and_update)
