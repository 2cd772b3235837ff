# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2154
#
# What the recipes share: the protocol with vmd-image, an apt that leaves the
# system alone, kernels out of Debian packages, and the initramfs.
#
# A recipe is a POSIX shell script that vmd-image runs with its working
# directory in an empty staging directory. It gets
#   VMD_RECIPES      the directory of this file
#   VMD_AGENT        the guest agent (a static program)
#   VMD_OPT_<name>   the options given by the user; only those that the recipe
#                    declares in a line "# option: NAME ..." reach it
# and speaks on descriptor 3, one line each:
#   step: TEXT                what happens now
#   progress: DONE TOTAL      how far that is
#   set: FIELD VALUE          a field of the manifest
#   artifact: KIND FILE       kernel, initrd or root, a file in the directory
#   error: KIND CODE TEXT     why it fails; then it exits with 1
# Standard output and error are for people: vmd-image passes them on.

set -eu
umask 022
LC_ALL=C
export LC_ALL
PATH=$PATH:/usr/sbin:/sbin
export PATH

step()
{
	echo "step: $*" >&3
}

progress()
{
	echo "progress: $1 $2" >&3
}

set_field()
{
	echo "set: $*" >&3
}

artifact()
{
	echo "artifact: $1 $2" >&3
}

# fail KIND CODE TEXT...
fail()
{
	kind=$1
	code=$2
	shift 2
	echo "error: $kind $code $*" >&3
	exit 1
}

# need_tool PROGRAM PACKAGE
need_tool()
{
	command -v "$1" >/dev/null 2>&1 ||
		fail unavailable tool_missing "The program $1 is not" \
			"installed and the recipe needs it. Install it:" \
			"apt-get install $2"
}

# need_space MIB: refuse early instead of half-way.
need_space()
{
	free_kib=$(df -Pk . | awk 'NR == 2 { print $4 }')
	if [ "$((free_kib / 1024))" -lt "$1" ]; then
		fail no_space disk_full "The disk of the image store has" \
			"$((free_kib / 1024)) MiB free and this build needs" \
			"about $1 MiB. Free some space, or put the store" \
			"elsewhere"
	fi
}

# one_of OPTION VALUE ALLOWED...
one_of()
{
	option=$1
	value=$2
	shift 2
	for allowed; do
		[ "$value" = "$allowed" ] && return 0
	done
	fail invalid option_invalid "The option $option does not take" \
		"'$value'; it takes one of: $*"
}

### apt, isolated ###########################################################

# debian_sources SUITE FILE...: prints one-line entries for SUITE and its
# updates and security suites out of sources.list and *.sources files. Entries
# with a key other than the Debian archive's belong to somebody else and are
# left out; the others must verify against the Debian archive's keys.
debian_sources()
{
	wanted=$1
	shift
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	for list; do
		[ -f "$list" ] || continue
		case $list in
		*.list) format=line ;;
		*.sources) format=deb822 ;;
		*) continue ;;
		esac
		awk -v format="$format" -v wanted="$wanted" -v ring="$keyring" \
			-f "$VMD_RECIPES/sources.awk" "$list"
	done
}

# apt_setup: an apt of our own below ./apt, with the host's Debian sources,
# proxies and certificates, and nothing of the host's package state.
apt_setup()
{
	need_tool apt-get apt
	need_tool dpkg-deb dpkg
	need_tool awk mawk
	suite=${VMD_OPT_suite:-}
	if [ -z "$suite" ]; then
		# shellcheck disable=SC1091
		suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	fi
	case $suite in
	'' | *[!a-z0-9-]*)
		fail invalid suite_invalid "'$suite' is not the name of a" \
			"Debian suite; give one: --option suite=bookworm"
		;;
	esac
	[ -f /usr/share/keyrings/debian-archive-keyring.gpg ] ||
		fail unavailable tool_missing "The keys of the Debian" \
			"archive are missing. Install them: apt-get install" \
			"debian-archive-keyring"

	mkdir -p apt/lists/partial apt/archives/partial apt/etc
	: >apt/status
	if [ -n "${VMD_OPT_mirror:-}" ]; then
		case $VMD_OPT_mirror in
		http://* | https://*) ;;
		*) fail invalid option_invalid "The option mirror takes an" \
			"http:// or https:// address" ;;
		esac
		case $VMD_OPT_mirror in
		*[!A-Za-z0-9:/._~%-]*) fail invalid option_invalid \
			"The option mirror has a character that does not" \
			"belong into an address" ;;
		esac
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
			"$VMD_OPT_mirror $suite main" >apt/etc/sources.list
	else
		debian_sources "$suite" /etc/apt/sources.list \
			/etc/apt/sources.list.d/* | sort -u >apt/etc/sources.list
	fi
	[ -s apt/etc/sources.list ] ||
		fail unavailable apt_no_sources "The apt configuration of" \
			"this host names no Debian archive for '$suite'. Give" \
			"one: --option mirror=http://HOST/debian"

	cat >apt/apt.conf <<-CONF
		Dir::State "$PWD/apt";
		Dir::State::status "$PWD/apt/status";
		Dir::State::lists "$PWD/apt/lists";
		Dir::Cache "$PWD/apt";
		Dir::Etc::sourcelist "$PWD/apt/etc/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::Etc::preferences "/dev/null";
		Dir::Etc::preferencesparts "/dev/null";
		Dir::Log "$PWD/apt";
		APT::Sandbox::User "";
		APT::Update::Error-Mode "any";
		Acquire::Languages "none";
		Acquire::Retries "2";
		Acquire::http::Timeout "30";
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
	CONF
	APT_CONFIG=$PWD/apt/apt.conf
	export APT_CONFIG
}

# apt_update: fetches the package lists. Lists that the host has already are
# only checked for age by the mirror, which saves most of the transfer.
apt_update()
{
	step "fetching the package lists of Debian $suite"
	for list in /var/lib/apt/lists/*_dists_"$suite"*; do
		[ -f "$list" ] && cp -p "$list" apt/lists/ 2>/dev/null || :
	done
	if ! apt-get -qq update; then
		fail unavailable apt_unreachable "The package lists of Debian" \
			"$suite could not be fetched from" \
			"$(awk 'NR == 1 { for (i = 2; i <= NF; i++)
				if ($i ~ /:\//) { print $i; exit } }' \
				apt/etc/sources.list): check the network, the" \
			"proxy and /etc/apt/sources.list"
	fi
}

# apt_fetch PACKAGE...: downloads .deb files into ./apt/debs
apt_fetch()
{
	mkdir -p apt/debs
	(cd apt/debs && apt-get -qq download "$@") ||
		fail unavailable apt_unreachable "The packages $* could not" \
			"be downloaded: check the network and the proxy"
}

# The tree of a downloaded package, unpacked: apt_unpack PACKAGE DIR
apt_unpack()
{
	mkdir -p "$2"
	dpkg-deb -x apt/debs/"$1"_*.deb "$2"
}

### kernel ##################################################################

# fetch_kernel: Debian's cloud kernel below ./kernel-tree; sets $release.
fetch_kernel()
{
	package=$(apt-cache depends linux-image-cloud-amd64 |
		sed -n 's/^ *Depends: \(linux-image-.*-cloud-amd64\)$/\1/p' |
		head -n 1)
	[ -n "$package" ] ||
		fail unavailable kernel_missing "Debian $suite has no" \
			"package linux-image-cloud-amd64 at this mirror"
	step "fetching the kernel ${package#linux-image-}"
	apt_fetch "$package" "$@"
	apt_unpack "$package" kernel-tree
	release=${package#linux-image-}
	[ -f "kernel-tree/boot/vmlinuz-$release" ] ||
		fail corrupt kernel_missing "The package $package has no" \
			"/boot/vmlinuz-$release"
	modules=kernel-tree/lib/modules/$release
	[ -d "$modules" ] || modules=kernel-tree/usr/lib/modules/$release
	need_tool depmod kmod
	depmod -b "${modules%/lib/modules/*}" "$release"
	set_field kernel_release "$release"
}

# Little-endian number of LENGTH bytes at OFFSET of FILE.
number_at()
{
	od -An -tu"$3" -j"$2" -N"$3" "$1" | tr -d ' '
}

# extract_vmlinux VMLINUZ OUT: the ELF inside a bzImage. Linux x86 boot
# protocol: setup_sects at 0x1f1, payload_offset at 0x248, payload_length at
# 0x24c. What follows the section headers are relocations for the decompressor,
# of no use to a kernel that is loaded where it was linked.
extract_vmlinux()
{
	[ "$(number_at "$1" 514 4)" = 1400005704 ] ||
		fail corrupt kernel_bad_format "$1 is not a bzImage"
	start=$((($(number_at "$1" 497 1) + 1) * 512 + \
		$(number_at "$1" 584 4)))
	length=$(number_at "$1" 588 4)
	magic=$(od -An -tx1 -j"$start" -N4 "$1" | tr -d ' ')
	case $magic in
	02214c18) need_tool lz4 lz4; unpack="lz4 -dcq" ;;
	28b52ffd) need_tool zstd zstd; unpack="zstd -dcq" ;;
	fd377a58) need_tool xz xz-utils; unpack="xz -dcq" ;;
	1f8b*) unpack="gzip -dcq" ;;
	*) fail unsupported kernel_bad_format "The kernel is compressed in a" \
		"way that this recipe does not know (magic $magic)" ;;
	esac
	# The four bytes after the stream (its size) upset the decompressors,
	# so their status says nothing: look at the result.
	{ tail -c +$((start + 1)) "$1" | head -c "$length" |
		$unpack >"$2.raw" 2>/dev/null; } || :
	[ "$(od -An -tx1 -N4 "$2.raw" | tr -d ' ')" = 7f454c46 ] ||
		fail corrupt kernel_bad_format "The kernel inside $1 is not an ELF file"
	end=$(($(number_at "$2.raw" 40 8) + \
		$(number_at "$2.raw" 58 2) * $(number_at "$2.raw" 60 2)))
	[ "$(stat -c %s "$2.raw")" -ge "$end" ] ||
		fail corrupt kernel_truncated "The kernel inside $1 is cut short"
	truncate -s "$end" "$2.raw"
	cp --sparse=always "$2.raw" "$2"
	rm -f "$2.raw"
}

# publish_kernel: the artefact "kernel" in the form the user chose.
publish_kernel()
{
	kernel_format=${VMD_OPT_kernel:-$1}
	one_of kernel "$kernel_format" elf bzimage
	step "preparing the kernel ($kernel_format)"
	if [ "$kernel_format" = elf ]; then
		extract_vmlinux "kernel-tree/boot/vmlinuz-$release" kernel
	else
		cp "kernel-tree/boot/vmlinuz-$release" kernel
	fi
	set_field kernel_format "$kernel_format"
	artifact kernel kernel
}

### initramfs ###############################################################

# What a stock kernel needs to see our devices, in the order of use: the
# transports (PCI for QEMU, MMIO for the microVM monitor), disk, the agent's
# channel, network, entropy, power button.
INITRAMFS_MODULES='virtio_pci virtio_mmio virtio_blk
	vmw_vsock_virtio_transport virtio_console virtio_net virtio-rng button'

# Prints the files of modules and of what they depend on, dependencies first.
module_files()
{
	awk -v wanted="$1" '
		{
			file = $1
			sub(/:$/, "", file)
			name = file
			sub(/.*\//, "", name)
			sub(/\.ko.*/, "", name)
			gsub(/-/, "_", name)
			path[name] = file
			$1 = ""
			needs[file] = $0
		}
		function visit(file,    list, n, i) {
			if (file in seen)
				return
			seen[file] = 1
			n = split(needs[file], list, " ")
			for (i = n; i >= 1; i--)
				visit(list[i])
			print file
		}
		END {
			n = split(wanted, list, /[ \t\n]+/)
			for (i = 1; i <= n; i++) {
				gsub(/-/, "_", list[i])
				if (list[i] in path)
					visit(path[list[i]])
			}
		}' "$modules/modules.dep"
}

# initramfs_base DIR: /init and /modules/NN-name.ko
initramfs_base()
{
	[ -x "${VMD_AGENT:-}" ] ||
		fail unavailable agent_missing "The guest agent (vmd-agent)" \
			"was not found beside vmd-image; reinstall vmd, or" \
			"set VMD_AGENT to its path"
	for dir in dev proc sys run tmp root modules; do
		mkdir -p "$1/$dir"
	done
	cp "$VMD_AGENT" "$1/init"
	chmod 755 "$1/init"
	number=10
	for module in $(module_files "$INITRAMFS_MODULES"); do
		case $module in
		*.ko.xz) unpack="xz -dc"; name=${module%.xz} ;;
		*.ko.zst) unpack="zstd -dcq"; name=${module%.zst} ;;
		*) unpack=cat; name=$module ;;
		esac
		$unpack "$modules/$module" >"$1/modules/$number-${name##*/}"
		number=$((number + 1))
	done
}

# publish_initramfs DIR DEFAULT_COMPRESSION: a cpio archive that depends on the
# content only: sorted, times and owners fixed, inodes renumbered.
publish_initramfs()
{
	need_tool cpio cpio
	compress=${VMD_OPT_compress:-$2}
	case $compress in
	none) pack=cat ;;
	lz4) need_tool lz4 lz4; pack="lz4 -l -9 -c -q" ;;
	zstd) need_tool zstd zstd; pack="zstd -19 -c -q" ;;
	*) one_of compress "$compress" none lz4 zstd ;;
	esac
	step "packing the initramfs"
	find "$1" -exec touch -h -d @0 {} +
	(cd "$1" && find . -mindepth 1 | sort |
		cpio --quiet -o -H newc --reproducible -R 0:0) >initrd.cpio
	$pack <initrd.cpio >initrd
	rm -f initrd.cpio
	artifact initrd initrd
}
