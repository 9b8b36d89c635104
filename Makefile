# p2v-target: build, install, and the commands of the README.
#
#   make demo      a disk made by create, booted into RAM, shown over SSH
#   make check     every test
#   make ganeti-lab    a Ganeti cluster with it installed, to try things in
#   make ganeti-lab-packages  the same with the packages, not yet installed
#   make check-ganeti  the acceptance in such a cluster, with Ganeti's burnin
#   make check-transfer  every kind of machine moves into an instance
#   make fuzz      [SECONDS=60] every parser of what comes from outside
#   make bench     measured against its peers, side by side
#   make install   [DESTDIR=...] onto a node, or into a package's tree
#   make deb       Debian packages of it, in target/deb
#   make generated  manual pages, completions, the example configuration, made anew
#   make clean

SHELL = /bin/sh
# For each fuzz target.
SECONDS = 60
DESTDIR =

sbindir = /usr/sbin
libdir = /usr/lib/p2v-target
osdir = /usr/share/ganeti/os/p2v-target
mandir = /usr/share/man
bashdir = /usr/share/bash-completion/completions
zshdir = /usr/share/zsh/vendor-completions
fishdir = /usr/share/fish/vendor_completions.d
confdir = /etc/ganeti/instance-p2v-target
cachedir = /var/cache/ganeti-instance-p2v-target
statedir = /var/lib/ganeti-instance-p2v-target

target = x86_64-unknown-linux-gnu
binary = target/$(target)/release/p2v
init = target/$(target)/release/p2v-init
stage = target/stage
packages = target/deb

hooks = $(wildcard hooks.d/*)
fixes = $(wildcard fixes.d/*)

# Given binary= and init=, nothing is built: those are installed.
built = $(if $(filter file,$(origin binary)),build)

.PHONY: all build generated setup setup-packaging demo check ganeti-lab ganeti-lab-packages check-ganeti check-transfer fuzz bench install stage deb clean

all: build

# What the machine needs, installed where it is missing.
setup:
	@tools/setup

# Who only makes packages needs no virtual machines.
setup-packaging:
	@tools/setup build-essential ca-certificates debhelper dpkg-dev

build:
	@tools/require-rust
	@echo "building p2v"
	@cargo build --quiet --release --target-dir target --package p2v --package p2v-init

# The files that are made from definitions in the source; a test says when one
# differs.
generated:
	@cargo run --quiet --package p2v-manual

# The OS directory and its configuration, in a tree of their own.
stage:
	@rm -rf $(stage)
	@$(MAKE) --no-print-directory --silent install DESTDIR=$(stage)

demo: setup stage
	@cargo run --quiet --package p2v-tests --bin demo -- $(stage)

check: setup stage
	@tools/check $(stage)

ganeti-lab: setup stage
	@cargo run --quiet --package p2v-tests --bin ganeti_lab -- $(stage)

ganeti-lab-packages: setup deb
	@cargo run --quiet --package p2v-tests --bin ganeti_lab -- --packages $(packages)

check-ganeti: setup stage
	@cargo run --quiet --package p2v-tests --bin ganeti_lab -- --check $(stage)
	@P2V_TEST_STAGE=$(abspath $(stage)) cargo test --quiet --package p2v-tests --test ganeti killed

check-transfer: setup stage
	@cargo run --quiet --package p2v-tests --bin check_transfer -- $(stage)

fuzz: setup
	@tools/fuzz $(SECONDS)

bench: setup stage
	@cargo run --quiet --release --package p2v-tests --bin bench -- $(stage)

# An admin's edited configuration is never overwritten: what is there stays,
# and the new version lies beside it as NAME.new. The list of variants was in
# the OS directory once.
install: $(built)
	install -d $(DESTDIR)$(sbindir) $(DESTDIR)$(libdir) $(DESTDIR)$(osdir) $(DESTDIR)$(confdir)/variants \
	  $(DESTDIR)$(confdir)/hooks.d $(DESTDIR)$(confdir)/fixes.d $(DESTDIR)$(statedir)
	install -d -m 0700 $(DESTDIR)$(cachedir)
	install -m 0755 $(binary) $(DESTDIR)$(sbindir)/p2v
	install -m 0755 $(init) $(DESTDIR)$(libdir)/p2v-init
	ln -sf p2v $(DESTDIR)$(sbindir)/make-ramboot-initrd
	ln -sf p2v $(DESTDIR)$(sbindir)/p2v-transfer
	for name in create import export rename verify; do \
	  ln -srf $(DESTDIR)$(sbindir)/p2v $(DESTDIR)$(osdir)/$$name || exit 1; \
	done
	for pages in man5 man8; do \
	  install -D -m 0644 -t $(DESTDIR)$(mandir)/$$pages man/$$pages/* || exit 1; \
	done
	install -D -m 0644 -t $(DESTDIR)$(bashdir) completions/bash/*
	install -D -m 0644 -t $(DESTDIR)$(zshdir) completions/zsh/*
	install -D -m 0644 -t $(DESTDIR)$(fishdir) completions/fish/*
	install -m 0644 ganeti_api_version os-def/parameters.list $(DESTDIR)$(osdir)
	if [ -f $(DESTDIR)$(osdir)/variants.list ] && [ ! -L $(DESTDIR)$(osdir)/variants.list ]; then \
	  mv -n $(DESTDIR)$(osdir)/variants.list $(DESTDIR)$(confdir)/variants.list; \
	fi
	tools/install-configuration $(DESTDIR)$(confdir) os-def/p2v-target.conf variants.list
	ln -srf $(DESTDIR)$(confdir)/variants.list $(DESTDIR)$(osdir)/variants.list
	tools/install-configuration $(DESTDIR)$(confdir)/variants os-def/variants/*.conf
	tools/install-configuration $(DESTDIR)$(confdir)/hooks.d $(hooks)
	tools/install-configuration $(DESTDIR)$(confdir)/fixes.d $(fixes)

deb: setup-packaging $(built)
	@tools/build-packages $(packages) $(binary) $(init)

clean:
	rm -rf target
