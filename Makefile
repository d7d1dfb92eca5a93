# The commands of this repository. Each installs what it needs from Debian's packages, works on
# private instances only, and leaves the servers of this machine alone.

.DEFAULT_GOAL := help
.PHONY: help run sale deploy replay test check bench format soak test-memory clean distclean

help:          ## print this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1\t/p' Makefile | expand -t 20

run:           ## start everything in the foreground; Ctrl-C stops it, the data stays in var/
	@tools/install-packages run
	@tools/run

sale:          ## play a flash sale on what make run has started: make sale [BUYERS=2000] [UNITS=1000] [CONNECTIONS=500]
	@tools/install-packages run
	@tools/sale $(BUYERS:%=--buyers %) $(UNITS:%=--units %) $(CONNECTIONS:%=--connections %)

deploy:        ## deploy the shop to an existing database: make deploy DB=name
	@tools/install-packages run
	@tools/deploy $(DB)

replay:        ## load a wholesaler's invoices as history: make replay DATA=file.csv.xz [DB=name]
	@tools/install-packages run
	@tools/replay "$(DATA)" $(DB)

test:          ## run every suite
	@tools/install-packages run test
	@tests/run

check:         ## check the conventions
	@tools/install-packages run test check
	@tools/check

bench:         ## measure
	@tools/install-packages run bench
	@bench/run
	@bench/shop
	@bench/api
	@bench/flash
	@tools/with-stack tools/with-shop tools/with-worker --conf 'batch = 1000' bench/worker
	@tools/with-stack tools/with-shop tools/with-api tools/with-worker --conf 'image_source =' -- bench/images

soak:          ## shop for half an hour, or make soak SECONDS=n: nothing may grow
	@tools/install-packages run test
	@tests/api/soak $(SECONDS)

test-memory:   ## run the pgTAP suite, and tests of the application, under valgrind
	@tools/install-packages run test memory
	@tests/memory

format:        ## lay out the C sources
	@tools/install-packages check
	clang-format -i $(wildcard extension/src/*.[ch] api/src/*.[ch] api/src/routes/*.[ch] worker/src/*.[ch] worker/image/*.[ch] tests/api/*/*.[ch] tools/crowd/*.[ch])

clean:         ## remove what was built
	@$(MAKE) -s --no-print-directory -C extension clean
	@rm -rf var/stage api/build worker/build

distclean: clean ## remove the data of make run as well
	@tools/run --remove
