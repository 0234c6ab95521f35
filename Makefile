# The first use of any target creates .venv and installs into it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
WORKERS ?= 2

export OMP_NUM_THREADS ?= 2

.PHONY: demo test lint bench bench-speed bench-gpu bench-data bench-learned bench-darcy bench-demo bench-flows bench-cfdbench bench-operators bench-physics bench-constraints bench-own-data bench-linear bench-mesh bench-turbulence bench-particles bench-seeds docs readme clean

demo: $(STAMP)
	$(BIN)/sciml demo

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations=40 --durations-min=8

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: bench-speed bench-gpu bench-data bench-learned bench-darcy bench-demo bench-flows bench-cfdbench bench-operators bench-physics bench-constraints bench-own-data bench-linear bench-mesh bench-turbulence bench-particles bench-seeds readme

bench-speed: $(VENV)/.peers
	$(BIN)/python -m benchmarks.speed
bench-gpu: $(VENV)/.peers
	$(BIN)/python -m benchmarks.gpu
bench-data: $(VENV)/.peers
	$(BIN)/python -m benchmarks.data
bench-learned: $(STAMP)
	$(BIN)/python -m benchmarks.learned
bench-darcy: $(VENV)/.peers
	$(BIN)/python -m benchmarks.darcy
bench-demo: $(STAMP)
	$(BIN)/python -m benchmarks.demo
bench-flows: $(STAMP)
	$(BIN)/python -m benchmarks.flows
bench-cfdbench: $(STAMP)
	$(BIN)/python -m benchmarks.cfdbench
# IRREGULAR names a folder with others' sets; without it the table has those of this package alone
bench-operators: $(STAMP)
	$(BIN)/python -m benchmarks.operators $(if $(IRREGULAR),--irregular $(IRREGULAR))

# DEEPXDE names the Python of an environment that has DeepXDE, COMSOL a folder of PINNacle's files
bench-physics: $(STAMP)
	$(BIN)/python -m benchmarks.physics $(if $(DEEPXDE),--deepxde $(DEEPXDE)) $(if $(COMSOL),--comsol $(COMSOL))

# EPOCHS of the neural processes
bench-constraints: $(STAMP)
	$(BIN)/python -m benchmarks.constraints $(if $(EPOCHS),--epochs $(EPOCHS))

# DATA names a folder with others' data
bench-own-data: $(STAMP)
	$(BIN)/python -m benchmarks.own_data $(if $(DATA),--data $(DATA))

# DATA names a folder with others' data, FULL=1 is to 1024 x 1024 cells and with 20 right-hand sides
bench-linear: $(STAMP)
	$(BIN)/python -m benchmarks.linear $(if $(DATA),--data $(DATA)) $(if $(FULL),--full)
bench-mesh: $(STAMP)
	$(BIN)/python -m benchmarks.mesh $(if $(DATA),--data $(DATA)) $(if $(FULL),--full)
# DATA names a folder with others' tables, MINUTES is of a training
bench-turbulence: $(STAMP)
	$(BIN)/python -m benchmarks.turbulence $(if $(DATA),--data $(DATA)) $(if $(MINUTES),--minutes $(MINUTES))
# MINUTES is of a training, WARP names the Python of an environment that has warp-lang
bench-particles: $(STAMP)
	$(BIN)/python -m benchmarks.particles $(if $(MINUTES),--minutes $(MINUTES)) $(if $(WARP),--warp $(WARP))
# FULL=1 is with three seeds
bench-seeds: $(STAMP)
	$(BIN)/python -m benchmarks.seeds $(if $(FULL),--full)

readme: $(STAMP)
	$(BIN)/python -m benchmarks.readme

docs: $(VENV)/.docs
	$(BIN)/mkdocs build --strict

# A CPU build of torch comes from constraints.txt's pin and is installed first, so that nothing pulls another one in.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

# The peers are installed without their own dependency lists, which would replace torch and pull in loggers.
$(VENV)/.peers: $(STAMP) benchmarks/peers.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps --requirement benchmarks/peers.txt
	touch $@

$(VENV)/.docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) build dist site runs benchmarks/work
