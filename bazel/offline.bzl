"""Local replacements for the repositories that Bazel would download to compile C++."""

def _written(context):
    for path, content in context.attr.files.items():
        context.file(path, content, executable = False)

_written_repository = repository_rule(
    doc = "A repository of small files.",
    implementation = _written,
    attrs = {"files": attr.string_dict(doc = "content for each path")},
)

def _native_rules(name, package, rules):
    """Defines a repository whose rules forward to those built into Bazel."""
    forward = "def {rule}(**attributes):\n    native.{rule}(**attributes)\n"
    _written_repository(name = name, files = {
        package + "/BUILD": "",
        package + "/defs.bzl": "\n".join([forward.format(rule = rule) for rule in rules]),
    })

def offline_repositories():
    """Defines the repositories that Debian's Bazel 4.2.3 loads for C++ code and tests."""
    native.local_repository(name = "platforms", path = "/usr/share/bazel/platforms")
    _native_rules("rules_cc", "cc", [
        "cc_binary",
        "cc_import",
        "cc_library",
        "cc_proto_library",
        "cc_test",
        "cc_toolchain",
        "cc_toolchain_suite",
        "objc_library",
    ])
    _native_rules("rules_java", "java", [
        "java_binary",
        "java_import",
        "java_library",
        "java_proto_library",
        "java_runtime",
        "java_toolchain",
    ])
    _native_rules("rules_proto", "proto", ["proto_lang_toolchain", "proto_library"])

    # Every test depends on it, even without coverage.
    _written_repository(name = "remote_coverage_tools", files = {
        "BUILD": "\n".join([
            "filegroup(name = \"%s\", visibility = [\"//visibility:public\"])" % name
            for name in ["coverage_report_generator", "Main"]
        ]),
    })
