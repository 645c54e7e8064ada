# sottovoce: two commands, everything they need in .venv
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
SOURCES := pyproject.toml constraints.txt

.PHONY: demo test gpu lint clean

demo: .venv/demo.stamp
	mkdir -p demo
	$(BIN)/sottovoce loopback --input clients/demo.flac --output demo/decoded.wav --books 4 \
		--picture demo/picture.png --report
	@echo "Listen to demo/decoded.wav, look at demo/picture.png."

test: .venv/test.stamp lint
	@sh .ci/packages
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not alone"
	$(BIN)/python -m pytest -m alone

# What runs on a GPU, for machines that have one; PYTEST="python -m pytest" uses an environment that is there already, which
# may lack what other tests need.
PYTEST ?= $(BIN)/python -m pytest
GPU_TESTS := tests/stream/test_torch_engine.py tests/clients/test_bars.py tests/training/test_training.py
gpu:
	$(PYTEST) -m gpu --continue-on-collection-errors $(GPU_TESTS)

lint: .venv/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	sh .ci/types

.venv/demo.stamp: $(SOURCES)
	$(PYTHON) -m venv .venv
	$(INSTALL) --editable '.[engine,report]'
	@touch $@

.venv/test.stamp: $(SOURCES)
	$(PYTHON) -m venv .venv
	$(INSTALL) --editable '.[engine,serve,talk,peer,torch,report,train,dev]'
	@touch $@ .venv/demo.stamp

clean:
	rm -rf .venv build demo
