"""Makes an installed nvcc available under the names of TensorFlow's `@local_config_cuda`."""

load("@bazel_tools//tools/cpp:toolchain_utils.bzl", "find_cpp_toolchain")

# As in CMakeLists.txt: 90-virtual is PTX, which later devices compile when they load the library.
_ARCHITECTURES = "75-real;80-real;90-real;90-virtual"

_ROOT_BUILD = """
load("@tf_boxconv//bazel:local_cuda.bzl", "bool_flag")

package(default_visibility = ["//visibility:public"])

bool_flag(name = "enable_cuda", build_setting_default = False)

config_setting(name = "is_cuda_enabled", flag_values = {":enable_cuda": "True"})
"""

_CUDA_BUILD = """
package(default_visibility = ["//visibility:public"])

exports_files(["nvcc"])

cc_library(
    name = "cudart_static",
    srcs = ["libcudart_static.a"],
    linkopts = ["-ldl", "-lpthread", "-lrt"],
)
"""

_BUILD_DEFS = """
load("@tf_boxconv//bazel:local_cuda.bzl", "nvcc_library")

def if_cuda(if_true, if_false = []):
    return select({{
        "@local_config_cuda//:is_cuda_enabled": if_true,
        "//conditions:default": if_false,
    }})

def cuda_library(deps = [], **attributes):
    nvcc_library(
        architectures = {architectures},
        nvcc = "@local_config_cuda//cuda:nvcc",
        deps = deps + ["@local_config_cuda//cuda:cudart_static"],
        **attributes
    )
"""

# Prints the folders of NVIDIA's packages from PyPI, which have no nvcc on the PATH.
_ASK_NVIDIA = """
import importlib.util
spec = importlib.util.find_spec("nvidia")
print(*(spec.submodule_search_locations if spec else ()), sep="\\n")
"""

def _bool_flag(_context):
    return []

bool_flag = rule(
    doc = "A flag of the command line.",
    implementation = _bool_flag,
    build_setting = config.bool(flag = True),
)

def _find_nvcc(context):
    """Returns the path of nvcc from `CUDACXX`, the `PATH` or PyPI, as setup.py does, or None."""
    named = context.os.environ.get("CUDACXX")
    if named:
        return context.path(named)
    if context.which("nvcc"):
        return context.which("nvcc")
    python = context.os.environ.get("PYTHON_BIN_PATH") or context.which("python3")
    folders = context.execute([python, "-c", _ASK_NVIDIA]).stdout.splitlines() if python else []
    for folder in folders:
        for child in context.path(folder).readdir() if context.path(folder).exists else []:
            nvcc = child.get_child("bin").get_child("nvcc")
            if child.basename.startswith("cu") and nvcc.exists:
                return nvcc
    return None

def _find_runtime(context, nvcc):
    """Returns the path of libcudart_static.a in nvcc's toolkit."""

    # `nvcc` may be a script elsewhere, so nvcc itself is asked for its folder.
    answer = context.execute([nvcc, "--dryrun", "-x", "cu", "/dev/null", "-o", "/dev/null"]).stderr
    tops = [line.split("=", 1)[1] for line in answer.splitlines() if line.startswith("#$ TOP=")]
    for top in tops:
        for folder in ["lib64", "lib"]:
            library = context.path(top).get_child(folder).get_child("libcudart_static.a")
            if library.exists:
                return library
    fail("local_cuda: no libcudart_static.a in the toolkit of %s" % nvcc)

def _local_cuda(context):
    context.file("BUILD", _ROOT_BUILD)
    context.file("cuda/BUILD", _CUDA_BUILD)
    architectures = context.os.environ.get("CUDAARCHS") or _ARCHITECTURES
    context.file("cuda/build_defs.bzl", _BUILD_DEFS.format(
        architectures = repr(architectures.split(";")),
    ))
    nvcc = _find_nvcc(context)
    command = "exec '%s' \"$@\"" % nvcc
    if nvcc:
        context.symlink(_find_runtime(context, nvcc), "cuda/libcudart_static.a")
    else:
        command = "echo 'No nvcc: put it on the PATH, or set CUDACXX.' >&2; exit 1"
        context.file("cuda/libcudart_static.a", "!<arch>\n")
    context.file("cuda/nvcc", "#!/bin/sh\n" + command + "\n", executable = True)

local_cuda = repository_rule(
    doc = "Locates nvcc. Building without it works as long as CUDA is not enabled.",
    implementation = _local_cuda,
    environ = ["CUDAARCHS", "CUDACXX", "PATH", "PYTHON_BIN_PATH"],
    local = True,
)

def _code_flags(architecture):
    """nvcc's flag for one of CMake's CUDA_ARCHITECTURES, such as `80-real`."""
    number, _, kind = architecture.partition("-")
    codes = {"real": ["sm"], "virtual": ["compute"], "": ["sm", "compute"]}[kind]
    return ["-gencode=arch=compute_%s,code=%s_%s" % (number, code, number) for code in codes]

def _nvcc_library(context):
    toolchain = find_cpp_toolchain(context)
    features = cc_common.configure_features(
        ctx = context,
        cc_toolchain = toolchain,
        requested_features = context.features,
        unsupported_features = context.disabled_features,
    )
    merged = cc_common.merge_cc_infos(cc_infos = [dep[CcInfo] for dep in context.attr.deps])
    headers = merged.compilation_context
    flags = context.actions.args()
    flags.add_all(["-c", "-std=c++17", "-O3", "-DNDEBUG", "-ccbin", toolchain.compiler_executable])
    flags.add("-Xcompiler=-fPIC,-fvisibility=hidden")
    flags.add_all(context.attr.local_defines, format_each = "-D%s")
    for folders in [headers.includes, headers.quote_includes, headers.system_includes]:
        flags.add_all(folders, before_each = "-I")
    for architecture in context.attr.architectures:
        flags.add_all(_code_flags(architecture))
    objects = []
    for source in context.files.srcs:
        target = context.actions.declare_file("_objs/%s/%s.pic.o" % (context.label.name, source.basename))
        context.actions.run(
            executable = context.executable.nvcc,
            arguments = [flags, source.path, "-o", target.path],
            inputs = depset([source], transitive = [headers.headers]),
            tools = toolchain.all_files,
            outputs = [target],
            mnemonic = "Nvcc",
            progress_message = "Compiling %s for %s" % (source.short_path, context.label.name),
            use_default_shell_env = True,
        )
        objects.append(target)
    linking, _ = cc_common.create_linking_context_from_compilation_outputs(
        name = context.label.name,
        actions = context.actions,
        cc_toolchain = toolchain,
        feature_configuration = features,
        compilation_outputs = cc_common.create_compilation_outputs(pic_objects = depset(objects)),
        linking_contexts = [merged.linking_context],
        disallow_dynamic_library = True,
    )
    return [
        DefaultInfo(files = depset(objects)),
        CcInfo(compilation_context = headers, linking_context = linking),
    ]

nvcc_library = rule(
    doc = "A library of CUDA sources, which nvcc compiles.",
    implementation = _nvcc_library,
    attrs = {
        "srcs": attr.label_list(allow_files = [".cu"]),
        "deps": attr.label_list(providers = [CcInfo]),
        "local_defines": attr.string_list(),
        "architectures": attr.string_list(doc = "As CMake's CUDA_ARCHITECTURES."),
        "nvcc": attr.label(allow_single_file = True, executable = True, cfg = "exec"),
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
    },
    toolchains = ["@bazel_tools//tools/cpp:toolchain_type"],
    fragments = ["cpp"],
)
