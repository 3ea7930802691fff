# make        configure and build (Release) into build/; the program is build/bin/minicpm
# make training   the same with `minicpm train`
# make demo   like make, then the program answers a question about a picture that ships with the project
# make test   like make training, then every test
# make server-clients   fetches the npm packages that one test of the server needs (it is skipped without them)
# make webui   builds the web page anew, after a change in webui/ (needs npm)
# make webui-packages   fetches what the tests of the web page need: npm packages and Debian's chromium
# make bench  benchmarks: JSON in build/bench/ and a table
# make fuzz   each fuzz target for FUZZ_SECONDS (600) seconds, with clang
# make asan, make tsan   the tests under sanitizers
# make soak   the server under everything at once for SOAK_SECONDS (1800) seconds
# make cross  the kernels for 64-bit ARM, run under an emulator
# Missing Debian packages are installed first, with sudo when not root: those of packages.txt, and for training and the
# tests those of packages-train.txt.

BUILD := build
JOBS ?= $(shell nproc)
CMAKE_FLAGS ?=
FUZZ_SECONDS ?= 600
SOAK_SECONDS ?= 1800
PACKAGES := packages.txt

.PHONY: all build training demo test server-clients webui webui-packages bench fuzz asan tsan soak cross format check packages clean

all: build

packages:
	@tools/install_packages.sh $(PACKAGES)

build: packages
	@cmake --preset release $(CMAKE_FLAGS) > $(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@mkdir -p $(BUILD) && mv $(BUILD).log $(BUILD)/configure.log
	@cmake --build $(BUILD) -j $(JOBS)

training test asan tsan: PACKAGES += packages-train.txt
training: build

demo: build
	@tools/demo.sh $(BUILD)

test: CMAKE_FLAGS += -DMINICPM_WERROR=ON
test: build
	@ctest --test-dir $(BUILD) -j $(JOBS) --output-on-failure --progress

server-clients: build
	@cmake --build $(BUILD) --target server_clients

webui:
	@npm ci --no-audit --no-fund --ignore-scripts --prefix webui
	@npm run build --prefix webui

webui-packages: PACKAGES := packages-webui.txt
webui-packages: packages
	@npm ci --no-audit --no-fund --ignore-scripts --prefix webui

bench: packages
	@tools/install_packages.sh packages-bench.txt
	@cmake --preset release -DMINICPM_BENCH=ON $(CMAKE_FLAGS) > /dev/null
	@cmake --build $(BUILD) -j $(JOBS)
	@python3 tools/bench.py $(BUILD)

fuzz: packages
	@tools/install_packages.sh packages-fuzz.txt
	@cmake --preset fuzz > /dev/null && cmake --build --preset fuzz -j $(JOBS)
	@tools/fuzz.sh $(BUILD)/fuzz $(FUZZ_SECONDS)

asan: packages
	@cmake --preset debug $(CMAKE_FLAGS) > /dev/null && cmake --build --preset debug -j $(JOBS)
	@ctest --test-dir $(BUILD)/debug -j $(JOBS) --output-on-failure

tsan: packages
	@cmake --preset tsan $(CMAKE_FLAGS) > /dev/null && cmake --build --preset tsan -j $(JOBS)
	@ctest --test-dir $(BUILD)/tsan -j $(JOBS) --output-on-failure

soak: build
	@tools/soak.sh $(BUILD) $(SOAK_SECONDS)

cross: packages
	@tools/cross_check_aarch64.sh

format:
	@git ls-files '*.cc' '*.h' '*.inl' | xargs clang-format -i

check:
	@python3 tools/check_includes.py

clean:
	@rm -rf $(BUILD)
