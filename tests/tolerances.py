"""The tests' tolerances: one figure for each kind of comparison and dtype, with its reason.

Unit roundoff is 1e-16 in float64, 6e-8 in float32, 5e-4 in float16 and 4e-3 in bfloat16. This
module imports nothing, so that checks on machines without Keras can use it.
"""


def _relative_and_absolute(tolerance: float) -> dict[str, float]:
    """Keyword arguments of `assert_allclose`, for values of order 1."""
    return {"rtol": tolerance, "atol": tolerance}


# The operator and its gradients against the float64 reference, relative to the sum of the
# magnitudes of all terms. The figures of float64 and float32 are what the package promises. Half
# types accumulate in float32 and round once, so they get three roundoffs.
OPERATOR = {"float64": 1e-9, "float32": 1e-5, "float16": 1.5e-3, "bfloat16": 1.2e-2}
# Added to the product, because numbers near the smallest of their type lose digits or become zero.
UNDERFLOW = {"float64": 1e-300, "float32": 1e-37, "float16": 1e-7, "bfloat16": 1e-37}

# An output of order 1 computed in two ways: some hundred additions, each with one roundoff.
VALUES = {
    "float64": _relative_and_absolute(1e-12),
    "float32": _relative_and_absolute(1e-5),
}

# Outputs and gradients of layers and models. Products with weights and normalization multiply the
# roundoff, and half types round between operations.
MODELS = {
    "float64": _relative_and_absolute(1e-11),
    "float32": _relative_and_absolute(1e-4),
    "float16": _relative_and_absolute(2e-2),
    "bfloat16": _relative_and_absolute(1e-1),
}

# Derivatives of up to third order computed in two ways. Each order adds another sum over a plane.
DERIVATIVES = {
    "float64": _relative_and_absolute(1e-9),
    "float32": _relative_and_absolute(1e-4),
    "float16": _relative_and_absolute(1e-2),
    "bfloat16": _relative_and_absolute(1e-1),
}

# Gradients against central differences with steps of 1e-5, whose rounding error is 1e-11 times the
# function's value, in float64.
CENTRAL_DIFFERENCES = _relative_and_absolute(1e-6)

# Edges of boxes, converted from pixels to a layer's units and back: a few roundoffs, relative.
EDGES = {"float64": {"rtol": 1e-15}, "float32": {"rtol": 1e-6}}
# Constrained boxes, in pixels: float32 edges up to 1000 have a roundoff of 6e-5.
BOX_BOUNDS = 1e-4

# Exported models against Keras models, by the type that the export computes in. Relative to the
# largest output.
EXPORT = {"float64": 1e-6, "float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}
