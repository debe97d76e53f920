"""Makes pip's TensorFlow available under the target names of TensorFlow's source tree."""

# Importing TensorFlow prints to stdout on some machines, so each answer line has a NAME= prefix.
_ASK_TENSORFLOW = """
import tensorflow as tf
print("VERSION=" + tf.__version__)
print("INCLUDE=" + tf.sysconfig.get_include())
print("LIBRARIES=" + tf.sysconfig.get_lib())
print("COMPILE=" + " ".join(tf.sysconfig.get_compile_flags()))
"""

_ROOT_BUILD = """
package(default_visibility = ["//visibility:public"])

cc_library(
    name = "framework",
    srcs = ["libtensorflow_framework.so.2"],
    hdrs = glob(["include/**"]),
    defines = {defines},
    includes = ["include"],
)

genrule(
    name = "build_info",
    outs = ["build_info.json"],
    cmd = "echo '{{\\"tensorflow\\": \\"{version}\\"}}' > $@",
)
"""

_CORE_BUILD = """
package(default_visibility = ["//visibility:public"])

[alias(name = name, actual = "//:framework") for name in ["framework", "lib"]]
"""

def _ask_tensorflow(context):
    python = context.os.environ.get("PYTHON_BIN_PATH") or context.which("python3")
    if not python:
        fail("pip_tensorflow found no python3: set PYTHON_BIN_PATH to a Python with TensorFlow.")
    answer = context.execute(
        [python, "-c", _ASK_TENSORFLOW],
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if answer.return_code:
        fail(("pip_tensorflow: %s cannot import TensorFlow; set PYTHON_BIN_PATH to a Python " +
              "that can.\n%s") % (python, answer.stderr))
    lines = [line.split("=", 1) for line in answer.stdout.splitlines() if "=" in line]
    return {line[0]: line[1] for line in lines}

def _pip_tensorflow(context):
    tensorflow = _ask_tensorflow(context)
    library = "libtensorflow_framework.so.2"
    context.symlink(tensorflow["INCLUDE"], "include")
    context.symlink(tensorflow["LIBRARIES"] + "/" + library, library)
    defines = [flag[2:] for flag in tensorflow["COMPILE"].split(" ") if flag.startswith("-D")]
    build = _ROOT_BUILD.format(defines = repr(defines), version = tensorflow["VERSION"])
    context.file("BUILD", build)
    context.file("tensorflow/core/BUILD", _CORE_BUILD)

pip_tensorflow = repository_rule(
    doc = "Locates the TensorFlow of the Python in PYTHON_BIN_PATH, or of python3 by default.",
    implementation = _pip_tensorflow,
    environ = ["PYTHON_BIN_PATH"],
    local = True,
)
