"""The probe: a POSIX sh program that answers ticks with framed lines, and the command to start it.

Belongs here: the program text and the command lines. Runs nothing, reads no answer (framing.py and
reading.py do). Imports nothing of ours.

Protocol, version 1. The client writes the tick number in decimal and a newline; anything else is
ignored; end of file ends the program. A line `i` before a tick asks for the inodes and types of its
file systems too; a probe that does not know it ignores it. A tick that stands behind the nonce on
the command line is the only one: standard input is not read. A word after it asks for more, `i`, or
for less: `c`, the core frame alone. Per tick the program prints frames of lines; a marker is
`@@RESMON1 <nonce> <kind> <tick>`:

    B k   core frame begins             D k   disk frame begins
    boot <boot id>                      df <exit status of df>
    up <uptime> <idle>                  now <seconds since the epoch, with fraction if date can>
    cpu <ten jiffy counters>            root <file system type of />
    online <list of cores>              mounts <how many there are>[ cut][ hung]
    load <contents of loadavg>          <output of df -Pk>
    mem <key: kB>...                    F k   disk frame ends
    net <name> <in> <out>...
    E k   core frame ends               X k <reason>   no disk frame, or nothing at all

After `i` these lines stand before the end of the disk frame:

    inodes <exit status of df>, <output of df -Pi>, types, and <type> <device> <mount> per mount

Lines end with a carriage return: bash flushes its output at each newline, so that a frame of a
background job and one of the foreground were mixed line by line (and SSH sent each line in a packet
of its own). Without a newline each of the shells writes a frame of up to 4 KiB in one call.

Reasons: `df-busy` (the df of an earlier tick has not returned; no second one is started),
`no-mounts` (the mount table is empty, or there is no grep), `no-disk` (started without the disk
part), `no-proc <system>` (not Linux, or /proc is not mounted: nothing can be measured).

A command line ends in ` resmon <nonce>` or ` resmon <nonce> <tick>[ i|c]`, in this version and all
later ones: a forced command (`command=` of authorized_keys, see `forced_command`) holds the program
of the day it was made, and takes these words, and nothing else, from what the client asks for.

What it costs the host: the core frame is made of shell builtins only, without a fork. dash and ash
read one byte per system call, so reading stops at MemAvailable (older kernels: all of meminfo, for
the fallback), the boot id is read once, and the mount table (hundreds of KB on a Kubernetes node)
goes through grep every tenth tick, after the core frame is out. df and date run in the background.
benchmarks/probe.py measures it.

A file system that hangs: df gets 10 s for all of them. When they pass, the next ticks ask for each
by itself with 2 s, at most four times in vain, until all answer again: `hung` says that some are
missing. A df that no signal ends (or a host without timeout) is `df-busy` for as long as it hangs.

Which interfaces count: those with a bus device behind them (/sys/class/net/<name>/device), so that
bridges, bonds, VLANs, tunnels and container links never double the traffic of their members; a
function whose master is itself such a device (accelerated networking of clouds) is left to its
master. Where there is no such device (containers): all but loopback, bonds, VLANs, and the links of
container and tunnel software.

Which file systems count: local types by allow-list, plus `/` whatever it is, one mount per device.
No vfat (boot partitions are noise), nothing on loop, ram or zram devices (their bytes are counted
elsewhere), no network or FUSE file system: those are never touched.
"""

import re

PROBE_VERSION = 1
"""Part of every marker; grows with any change of the frames that an older parser would misread."""

MARKER = f"@@RESMON{PROBE_VERSION}"

MAX_MOUNTS = 200
"""More mounts than this are cut, and the disk totals are then unknown rather than too small."""

STATUS_HUNG = 3
"""Exit status of the job that prints the disk frame when a df did not return in time: the next tick
asks for each mount by itself."""

MIN_NONCE_LENGTH = 8
MAX_NONCE_LENGTH = 64
_NONCE = re.compile(rf"[0-9A-Za-z]{{{MIN_NONCE_LENGTH},{MAX_NONCE_LENGTH}}}\Z")

# The text goes between single quotes through an unknown login shell. So: no single quote and no
# newline (tcsh), no exclamation mark without a blank after it (history of csh), no double backslash
# (fish reads it as one even between single quotes). Lines end so that a blank may join them.

_START = f"""\
set -f; LC_ALL=C; PATH=${{PATH:+$PATH:}}/usr/bin:/bin; export LC_ALL PATH; exec 2>/dev/null;
h="{MARKER} $1" O=$2 D=$3; shift $#; p= f= z= a=0 t=; b=;
read -r b </proc/sys/kernel/random/boot_id;
"""

_START_DISK = """\
w=$(printf "\\nx"); w=${w%x}; n=${D#c} H=0 T=;
timeout 9 true </dev/null && t="timeout 10";
"""

_CORE = """\
while case $O in "") read -r k;; .) false;; *) k=$O O=.;; esac; do
case $k in i) n=i; continue;; esac;
[ "$k" -ge 0 ] || continue;
u= c= o= l= e= q= v=;
read -r u </proc/uptime; read -r c </proc/stat;
while IFS=": " read -r i r x x x x x x x s x; do
case $i in
"Inter-|"|face|lo|veth*|docker*|br-*|virbr*|vnet*|tap*|tun*|wg*) ;;
cali*|cni*|flannel*|lxc*|ifb*|dummy*) ;;
*) if [ -e "/sys/class/net/$i/device" ]; then
[ -e "/sys/class/net/$i/master/device" ] || q="$q $i $r $s";
else case $i in bond*|team*|*.*) ;; *) v="$v $i $r $s";; esac; fi;;
esac; done </proc/net/dev;
while read -r i r x; do
case $i in MemTotal:|MemFree:|Buffers:|Cached:|SReclaimable:|Shmem:) e="$e $i $r";;
MemAvailable:) e="$e $i $r"; break;; esac; done </proc/meminfo;
read -r l </proc/loadavg; read -r o </sys/devices/system/cpu/online;
if [ -z "$o" ]; then i=0; while read -r x r; do
case $x in cpu[0-9]*) i=$((i+1));; cpu) ;; *) break;; esac; done </proc/stat; o="count $i"; fi;
if [ -z "$c" ]; then printf "%s\\r" "$h X $k no-proc $(uname -s </dev/null)"; continue; fi;
printf "%s\\r" "$h B $k" "boot $b" "up $u" "$c" "online $o" "load $l" \
"mem$e" "net${q:-$v}" "$h E $k";
"""

_DISK = f"""\
if [ "$D" = c ]; then printf "%s\\r" "$h X $k no-disk"; continue; fi;
if [ "$p" ]; then s= q=; read -r x x s q x </proc/$p/stat;
case $q.$s in $$.[ZX]) ;; $$.?) printf "%s\\r" "$h X $k df-busy"; continue;; esac;
wait $p; H=$? p=; fi;
if [ $a -le 0 ]; then a=10 g=" " z= f= T=;
y="ext[234]|xfs|btrfs|zfs|f2fs|jfs|reiserfs|bcachefs|nilfs2";
set -- $(grep -E "^[^ ]* / |^[^ ]* [^ ]* ($y) " /proc/mounts);
i=$# j=0;
while [ $i -ge 6 ]; do i=$((i-6)) d=$1 m=$2 y=$3; shift 6;
case $m in /) f=$y;; *) case $d in /dev/loop*|/dev/ram*|/dev/zram*) continue;; esac;; esac;
case $g in *" $d "*) continue;; esac; g="$g$d ";
if [ $j -ge {MAX_MOUNTS} ]; then z=" cut"; continue; fi; j=$((j+1));
case $m in *"\\0"*|*"\\1"*) m=$(printf "%b" "$m");; esac; T="$T$y $d $m$w";
set -- "$@" "$m"; done; fi; a=$((a-1));
if [ $# -eq 0 ]; then printf "%s\\r" "$h X $k no-mounts"; continue; fi;
{{ m=$# o= r=0 v=0;
if [ "$H" = {STATUS_HUNG} ]; then i=$#; while [ $i -gt 0 ]; do i=$((i-1)) x=$1; shift;
[ $v -lt 4 ] || continue; q=$(${{t:+timeout 2}} df -Pk "$x");
case $? in 124|137|143) v=$((v+1));; *) o="$o$q$w"; set -- "$@" "$x";; esac; done;
[ $v -eq 0 ] || z="$z hung"; else o=$($t df -Pk "$@"); r=$?; fi;
case $r.$v in 124.*|137.*|143.*) H=1 n=;; *.0) H=0;; *) H=1;; esac;
if [ "$n" ]; then s=1 q=; if [ $# -gt 0 ]; then q=$(${{t:+timeout 5}} df -Pi "$@"); s=$?; fi; fi;
IFS=$w; set -- $o; if [ "$n" ]; then set -- $o "inodes $s" $q types $T; fi;
printf "%s\\r" "$h D $k" "df $r" "now $(date +%s.%N)" "root $f" "mounts $m$z" "$@" "$h F $k";
[ $H = 0 ] || exit {STATUS_HUNG};
}} </dev/null & p=$! n=;
"""

_NO_DISK = """\
printf "%s\\r" "$h X $k no-disk";
"""

_END = """\
done; [ -z "$O" ] || wait
"""

# What a client asks of an account with a forced command stands in $SSH_ORIGINAL_COMMAND. It is cut
# into words, which is not evaluation: no word of it is ever run, and set -f keeps patterns as they
# are. Without an exclamation mark "not one of these" is a loop.
_FORCED = f"""\
set -f; LC_ALL=C; set -- ${{SSH_ORIGINAL_COMMAND##* resmon }};
if [ ${{#1}} -ge {MIN_NONCE_LENGTH} ] && [ ${{#1}} -le {MAX_NONCE_LENGTH} ]; then x=$1;
while case $x in [0-9A-Za-z]*) x=${{x#?}};; *) false;; esac; do :; done;
else x=no; fi;
if [ "$x" ]; then echo "This key runs the probe of Resmon and nothing else." >&2; exit 64; fi;
"""


def probe_source(*, with_disk: bool = True) -> str:
    """The program as text for people, one statement or so per line; the nonce is `$1`.

    Args:
        with_disk: False leaves out file systems and the host's clock: no fork at all.
    """
    disk = (_START_DISK, _CORE, _DISK) if with_disk else ("", _CORE, _NO_DISK)
    return "".join((_START, *disk, _END))


def probe_command(nonce: str) -> str:
    """One line for an SSH exec request, for any login shell that knows `exec` and single quotes.

    Args:
        nonce: 8 to 64 ASCII letters and digits, new for each connection. It keeps what a banner, an
            rc file or another program prints from being taken for an answer.

    Raises:
        ValueError: the nonce is of another form (it would end up in a shell command).
    """
    return f"exec /bin/sh -c '{_one_line(probe_source())}' resmon {_checked(nonce)}"


def single_shot_command(
    nonce: str, tick: int, *, with_inodes: bool = False, with_disk: bool = True
) -> str:
    """The same for one answer to `tick`, without standard input: the program ends after it.

    Args:
        nonce: as in `probe_command`.
        tick: number of the answer.
        with_inodes: ask for inodes and types of the file systems too.
        with_disk: False asks for the core frame alone: no fork on the host.

    Raises:
        ValueError: the nonce is of another form.
    """
    extra = ("i" if with_inodes else "") if with_disk else "c"
    return f"{probe_command(nonce)} {int(tick)} {extra}".rstrip()


def forced_command() -> str:
    """One line for `command=` of authorized_keys or ForceCommand, for the same login shells.

    Whatever a client asks for, the probe runs and nothing else; it takes its nonce, and the tick of
    a single shot, from the end of what was asked for, and ends with status 64 when that is not
    letters and digits.
    """
    return f"exec /bin/sh -c '{_one_line(_FORCED + probe_source())}' resmon"


def probe_argv(
    nonce: str, *, shell: tuple[str, ...] = ("/bin/sh",), with_disk: bool = True
) -> list[str]:
    """Argument vector that starts the same program without an outer shell (transport `local`).

    Args:
        nonce: as in `probe_command`.
        shell: the POSIX shell that interprets it, for example `("busybox", "sh")`.
        with_disk: False leaves out file systems and the host's clock.

    Raises:
        ValueError: the nonce is of another form.
    """
    return [*shell, "-c", _one_line(probe_source(with_disk=with_disk)), "resmon", _checked(nonce)]


def _one_line(source: str) -> str:
    """The lines joined by blanks."""
    return " ".join(source.splitlines())


def _checked(nonce: str) -> str:
    """The nonce, when it is one."""
    if not _NONCE.match(nonce):
        msg = f"The nonce {nonce!r} is not 8 to 64 ASCII letters and digits."
        raise ValueError(msg)
    return nonce
