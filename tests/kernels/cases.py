"""What is asked of every kernel: a shell line for the guest, and beside it what must come of it there.

A line runs once as root and once as a plain user, in a project directory with `../ro/f` and `../out/f` beside it; `$S`
is agor-sandbox. The judge gets the run and the kernel, and raises Wrong where it is otherwise. What each ABI has is
written down here from the kernel's documentation, not taken from the program.
"""

import json
import re
from dataclasses import dataclass, field


class Wrong(Exception):
    """What was expected, and what came."""


class Skipped(Exception):
    """What cannot be tried on this kernel."""


@dataclass
class Kernel:
    """A kernel as it was booted, and as the guest saw it."""

    name: str
    arch: str
    variant: str = ""
    release: str = ""
    abi: int = 0
    no_landlock: str = ""
    userns: bool = True
    version: tuple = (0, 0)

    def mounts(self, user):
        """Whether a private mount namespace can be had."""
        return user == 0 or self.userns


# (feature, the ABI that brought it)
FEATURES = [("refer", 2), ("truncate", 3), ("tcp", 4), ("ioctl_dev", 5), ("scope_abstract_unix", 6), ("scope_signal", 6),
            ("log", 7), ("resolve_unix", 9), ("udp", 10)]
# The first release with each ABI, which says what a kernel must answer.
RELEASES = [((5, 13), 1), ((5, 19), 2), ((6, 2), 3), ((6, 7), 4), ((6, 10), 5), ((6, 12), 6), ((6, 15), 7), ((7, 0), 8),
            ((7, 1), 9), ((7, 2), 10), ((7, 3), 11)]


@dataclass
class Run:
    """What one line did."""

    user: int
    code: int
    out: str
    kernel: Kernel
    ops: dict = field(default_factory=dict)
    status: dict = field(default_factory=dict)

    def __post_init__(self):
        for line in self.out.splitlines():
            words = line.split(" ")
            if len(words) == 2 and re.fullmatch(r"[a-z0-9_]+(:\S*)?", words[0]) and re.fullmatch(r"ok|E[A-Z0-9]+", words[1]):
                self.ops[words[0]] = words[1]
            if line.startswith('{"schema"'):
                self.status = json.loads(line)

    def expect(self, what, got, wanted):
        if got != wanted:
            raise Wrong(f"{what}: {got!r} and not {wanted!r}")

    def exits(self, code):
        self.expect("exit status", self.code, code)

    def op(self, name, *wanted):
        got = self.ops.get(name, "nothing")
        if got not in wanted:
            raise Wrong(f"{name}: {got} and not {' or '.join(wanted)}")

    def says(self, *texts):
        for text in texts:
            if text not in self.out:
                raise Wrong(f"does not say {text!r}")

    def silent(self, text):
        if text in self.out:
            raise Wrong(f"says {text!r}")

    def layer(self, name):
        for layer in self.status.get("layers", []):
            if layer["name"] == name:
                return layer
        raise Wrong(f"no layer {name} in the status")

    def state(self, name, wanted):
        layer = self.layer(name)
        if layer["state"] != wanted:
            raise Wrong(f"layer {name}: {layer['state']} and not {wanted} ({layer.get('why', '')})")


CASES = []


def case(line):
    """Registers a judge, named as the case is."""

    def add(judge):
        CASES.append((judge.__name__.replace("_", " "), line, judge))
        return judge

    return add


def stated(run, kernel):
    """What the status must say whatever the options are."""
    run.expect("landlock_abi", run.status.get("landlock_abi"), kernel.abi)
    wanted = [name for name, since in FEATURES if kernel.abi < since] if kernel.abi else []
    run.expect("dropped", [dropped["feature"] for dropped in run.status["dropped"]], wanted)
    if not kernel.abi:
        run.state("files", "absent")
        run.state("scopes", "absent")
        if kernel.no_landlock not in run.layer("files")["why"]:
            raise Wrong(f"files: {run.layer('files')['why']!r} does not name {kernel.no_landlock}")
    else:
        run.state("files", "enforced" if kernel.abi >= 5 else "degraded")
        run.state("scopes", "enforced" if kernel.abi >= 6 else "degraded")
    for name in ("capabilities", "no_new_privs", "seccomp", "environment", "descriptors"):
        run.state(name, "enforced")


def allowed(kernel, since, denied="EACCES"):
    """For what Landlock denies from an ABI on."""
    return denied if kernel.abi >= since else "ok"


# Files


@case("$S --ro ../ro -- probe read:../ro/f read:../out/f write:../ro/f create:../ro/new create:../out/new create:new")
def files(run, kernel):
    denied = "EACCES" if kernel.abi else "ok"
    run.exits(0)
    run.op("read:../ro/f", "ok")
    run.op("create:new", "ok")
    for name in ("read:../out/f", "write:../ro/f", "create:../ro/new", "create:../out/new"):
        run.op(name, denied)


@case("$S --ro ../ro -- probe empty:../ro/f truncate:../ro/f; wc -c <../ro/f")
def truncation(run, kernel):
    # Opening for reading with O_TRUNC asks for the right to truncate, and truncate(2) has its own hook.
    run.op("truncate:../ro/f", allowed(kernel, 3))
    run.op("empty:../ro/f", allowed(kernel, 3))


@case("mkdir a b; echo x >a/f; $S -- probe rename:a/f:b/f link:b/f:a/g rename:b/f:b/h; $S -- probe rename:../out/f:a/o link:../out/f:a/l")
def renaming_between_directories(run, kernel):
    inside = "EXDEV" if kernel.abi == 1 else "ok"
    run.op("rename:a/f:b/f", inside)
    if kernel.abi != 1:
        run.op("link:b/f:a/g", "ok")
        run.op("rename:b/f:b/h", "ok")
    if kernel.abi:
        run.op("rename:../out/f:a/o", "EXDEV", "EACCES")
        run.op("link:../out/f:a/l", "EXDEV", "EACCES")


@case("$S --rw ../ro -- probe mkdir:../ro/d create:../ro/d/f rename:../ro/d/f:../ro/d/g truncate:../ro/d/g unlink:../ro/d/g mknod:../ro/n")
def everything_within_a_grant(run, _kernel):
    for name in ("mkdir:../ro/d", "create:../ro/d/f", "rename:../ro/d/f:../ro/d/g", "truncate:../ro/d/g", "unlink:../ro/d/g"):
        run.op(name, "ok")
    run.op("mknod:../ro/n", "EPERM", "EACCES")


@case("cp /usr/bin/probe ../ro/p; cp /usr/bin/probe w; $S --ro ../ro -- ../ro/p fds; echo rc=$?; $S --rox ../ro -- ../ro/p fds; echo rc=$?; $S -- ./w fds; echo rc=$?")
def execution(run, kernel):
    run.expect("statuses", re.findall(r"rc=(\d+)", run.out), ["126" if kernel.abi else "0", "0", "0"])


@case("mknod ../ro/device c 1 8 2>/dev/null; chmod 666 ../ro/device; ls ../ro; $S --ro ../ro -- probe ioctl:../ro/device ioctl:/dev/random")
def ioctl_on_devices(run, kernel):
    if run.user != 0:
        return
    run.op("ioctl:../ro/device", allowed(kernel, 5))
    run.op("ioctl:/dev/random", "ok")


# What the program says


@case("$S doctor --json; echo rc=$?")
def doctor(run, kernel):
    findings = run.status.get("findings", [])
    text = [finding["what"] for finding in findings if finding["name"] == "landlock"]
    if kernel.abi:
        run.expect("landlock", text, [f"ABI {kernel.abi}"])
        news = [int(re.match(r"ABI (\d+)", finding["what"])[1]) for finding in findings if finding["name"] == "landlock-abi"]
        run.expect("what newer ABIs add", news, list(range(kernel.abi + 1, 11)))
    elif len(text) != 1 or kernel.no_landlock not in text[0]:
        raise Wrong(f"landlock: {text} does not name {kernel.no_landlock}")
    bad = sorted({finding["name"] for finding in findings if not finding["ok"]})
    wanted = set()
    if not kernel.abi:
        wanted.add("landlock")
    elif kernel.abi < 6:
        wanted.add("landlock-abi")
    if not kernel.mounts(run.user):
        wanted.add("mount-namespace")
    # Errata may or may not be fixed.
    run.expect("missing", [name for name in bad if name != "landlock-errata"], sorted(wanted))
    run.expect("ok", run.status["ok"], not bad)
    run.says(f"rc={1 if bad else 0}")


@case("$S --connect-tcp 7001 --ro ../ro --status-file ../data/st -- true; cat ../data/st")
def status_with_ports(run, kernel):
    stated(run, kernel)
    run.state("tcp", "enforced" if kernel.abi >= 4 else "absent")
    covered = {dropped["feature"]: dropped["covered_by"] for dropped in run.status["dropped"]}
    for feature in ("refer", "truncate", "tcp", "ioctl_dev", "scope_signal", "scope_abstract_unix"):
        run.expect(f"{feature} covered by", covered.get(feature), None)
    run.expect("udp covered by", covered.get("udp"), "seccomp" if "udp" in covered else None)
    if "resolve_unix" in covered:
        run.expect("resolve_unix covered by", covered["resolve_unix"], "mounts" if kernel.mounts(run.user) else None)
    run.state("mounts", "enforced" if kernel.mounts(run.user) else "absent")
    late = any("made by other programs after" in limit for limit in run.layer("mounts").get("limits", []))
    run.expect("a limit for later sockets", late, kernel.abi < 9 and kernel.mounts(run.user))
    full = kernel.abi >= 6 and kernel.mounts(run.user)
    run.expect("state", run.status["state"], "enforced" if full else "degraded")


@case("$S --net none --no-unix --status-file ../data/st -- true; cat ../data/st")
def status_with_no_network(run, kernel):
    run.expect("landlock_abi", run.status["landlock_abi"], kernel.abi)
    run.state("tcp", "enforced")
    covered = {dropped["feature"]: dropped["covered_by"] for dropped in run.status["dropped"]}
    for feature in ("tcp", "scope_abstract_unix", "resolve_unix", "udp"):
        if feature in covered:
            run.expect(f"{feature} covered by", covered[feature], "seccomp")


@case("$S explain --connect-tcp 7001 --json -- true; echo rc=$?")
def explain_agrees(run, kernel):
    status = run.status["status"]
    run.expect("landlock_abi", status["landlock_abi"], kernel.abi)
    layers = {layer["name"]: layer["state"] for layer in status["layers"]}
    run.expect("files", layers["files"], "absent" if not kernel.abi else "enforced" if kernel.abi >= 5 else "degraded")
    run.expect("mounts", layers["mounts"], "enforced" if kernel.mounts(run.user) else "absent")


@case("$S -- true")
def one_line_a_weak_layer(run, kernel):
    run.exits(0)
    lines = [line for line in run.out.splitlines() if line.strip()]
    weak = (kernel.abi < 5) + (kernel.abi < 6) + (not kernel.mounts(run.user))
    if not kernel.abi:
        run.says(kernel.no_landlock)
    if kernel.abi >= 6 and kernel.mounts(run.user):
        run.expect("warnings", lines, [])
    elif not 0 < len(lines) <= weak + 2:
        raise Wrong(f"{len(lines)} lines of warnings")


@case("$S --require --unix-all --no-protect --ro ../ro -- touch ran; echo rc=$?; ls")
def require_files(run, kernel):
    enough = kernel.abi >= 6
    run.says(f"rc={0 if enough else 125}")
    (run.says if enough else run.silent)("\nran")


@case("AGOR_SANDBOX_REQUIRE=1 $S --net none -- touch ran; echo rc=$?; ls")
def require_protection(run, kernel):
    enough = kernel.abi >= 6 and kernel.mounts(run.user)
    run.says(f"rc={0 if enough else 125}")
    (run.says if enough else run.silent)("\nran")


@case("$S --require --unix-all --no-protect --connect-tcp 7001 -- touch ran; echo rc=$?; ls")
def require_ports(run, kernel):
    enough = kernel.abi >= 6
    run.says(f"rc={0 if enough else 125}")
    (run.says if enough else run.silent)("\nran")
    if kernel.abi and kernel.abi < 4:
        run.says("truncate" if kernel.abi < 3 else "ioctl_dev")


# Network


@case("$S --connect-tcp 7001 --bind-tcp 7003 -- probe connect:7001 connect6:7001 connect:7002 connect6:7002 bind:7003 bind6:7003 bind:7004 bind6:7004 fastopen:7002 udp mptcp netlink")
def tcp_by_port(run, kernel):
    denied = allowed(kernel, 4)
    for name in ("connect:7001", "connect6:7001", "bind:7003", "bind6:7003"):
        run.op(name, "ok")
    for name in ("connect:7002", "connect6:7002", "bind:7004", "bind6:7004"):
        run.op(name, denied)
    run.op("fastopen:7002", "EPERM")
    for name in ("udp", "mptcp", "netlink"):
        run.op(name, "EACCES")


@case("$S --connect-tcp 7001 -- probe listen connect:7001 bind:7004")
def no_port_without_bind(run, kernel):
    run.op("listen", "EACCES")
    run.op("connect:7001", "ok")
    run.op("bind:7004", allowed(kernel, 4))


@case("$S --net none -- probe connect:7001 connect6:7001 bind:7003 listen udp mptcp netlink")
def no_network(run, _kernel):
    for name in ("connect:7001", "connect6:7001", "bind:7003", "listen", "udp", "mptcp", "netlink"):
        run.op(name, "EACCES")


@case("probe unix:/run/other.sock; $S -- probe connect:7001 abstract:agor-kernels unix:/tmp/other.sock; echo --; $S -- probe unix:/run/other.sock")
def sockets_of_others(run, kernel):
    run.op("connect:7001", "ok")
    if not (kernel.abi or kernel.mounts(run.user)):
        return
    run.op("abstract:agor-kernels", allowed(kernel, 6, "EPERM"))
    if kernel.abi >= 9 or kernel.mounts(run.user):
        run.op("unix:/tmp/other.sock", "EACCES", "EPERM", "ENOENT", "ECONNREFUSED")
        run.op("unix:/run/other.sock", "EACCES", "EPERM", "ENOENT", "ECONNREFUSED")


@case("$S --unix /run/other.sock -- probe unix:/run/other.sock; $S --unix-all -- probe unix:/tmp/other.sock unix:/run/all.sock abstract:agor-kernels")
def sockets_that_are_granted(run, _kernel):
    for name in ("unix:/run/other.sock", "unix:/tmp/other.sock", "unix:/run/all.sock", "abstract:agor-kernels"):
        run.op(name, "ok")


@case("$S --no-unix -- probe unix:/run/other.sock abstract:agor-kernels connect:7001")
def no_unix_sockets(run, _kernel):
    run.op("unix:/run/other.sock", "EACCES")
    run.op("abstract:agor-kernels", "EACCES")
    run.op("connect:7001", "ok")


# Processes


@case("sleep 30 & $S -- probe signal:$! ptrace:$!; echo; $S -- probe signal:$SERVER; kill $!")
def signals_to_others(run, kernel):
    number = [name for name in run.ops if name.startswith("signal:")]
    run.op(number[0], allowed(kernel, 6, "EPERM"))
    tracing = [name for name in run.ops if name.startswith("ptrace:")]
    if kernel.abi:
        run.op(tracing[0], "EPERM")


@case("$S -- probe tiocsti tioclinux tiocsti64 io_uring keyctl add_key bpf perf mount:/tmp umount:/proc fsopen open_tree move_mount pivot_root setns unshare_user unshare_mount clone_user clone3")
def system_calls_that_nobody_needs(run, _kernel):
    for name in ("tiocsti", "tioclinux", "tiocsti64", "io_uring", "keyctl", "add_key", "bpf", "perf", "mount:/tmp",
                 "umount:/proc", "fsopen", "open_tree", "move_mount", "pivot_root", "setns", "unshare_user",
                 "unshare_mount", "clone_user"):
        run.op(name, "EPERM")
    run.op("clone3", "ENOSYS")


@case("foreign; echo rc=$?; $S -- foreign; echo rc=$?; $S -- sh -c 'foreign; echo inner=$?'; echo rc=$?")
def programs_of_32_bits_end(run, _kernel):
    bare = re.findall(r"rc=(\d+)", run.out)
    if bare[0] != "42":
        raise Skipped("this kernel runs none")
    # SIGSYS, of the program and not of the shell around it.
    run.expect("status", bare[1:], ["159", "0"])
    run.says("inner=159")


@case("$S -- probe x32; echo rc=$?; $S --explain-denials -- probe x32; echo rc=$?")
def calls_of_x32_end_the_process(run, kernel):
    if kernel.arch != "x86_64":
        raise Skipped("x86_64 has them")
    run.expect("status", re.findall(r"rc=(\d+)", run.out), ["159", "159"])


@case("$S -- cat /proc/self/status")
def no_capabilities(run, kernel):
    values = dict(re.findall(r"^(Cap\w+|NoNewPrivs|Seccomp):\s+(\w+)", run.out, re.MULTILINE))
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        run.expect(name, int(values[name], 16), 0)
    if kernel.mounts(run.user):
        run.expect("CapBnd", int(values["CapBnd"], 16), 0)
    run.expect("NoNewPrivs", values["NoNewPrivs"], "1")
    run.expect("Seccomp", values["Seccomp"], "2")


@case("exec 9<../out/f 200<../out; $S -- probe fds; echo --; $S --keep-fd 9 -- sh -c 'cat <&9; probe fds'")
def descriptors(run, _kernel):
    said = [line for line in run.out.split("\n") if line in ("--", "outside") or line.startswith("fd ")]
    run.expect("open", said, ["--", "outside", "fd 9"])


@case("touch ../out/g; $S -- probe chown:../out/g chown:mine; echo; cat /etc/shadow >/dev/null 2>&1; echo rc=$?; $S -- cat /etc/shadow; echo rc=$?")
def root_is_nobody_special(run, kernel):
    # In a user namespace user 12 does not even exist.
    run.op("chown:../out/g", "EPERM", "EINVAL")
    if kernel.mounts(run.user):
        run.expect("reading /etc/shadow", re.findall(r"rc=(\d+)", run.out)[1], "1")


# The mount namespace


@case("mkdir -p .git/hooks .git/objects .git/refs; echo 'ref: refs/heads/main' >.git/HEAD; echo '[core]' >.git/config; : >.git/hooks/pre-commit; chmod 644 .git/hooks/pre-commit;"
      "$S -- probe create:.git/hooks/new write:.git/hooks/pre-commit write:.git/config rename:.git/hooks:x rename:.git:y mkdir:.git/commondir create:.git/other create:.mcp.json;"
      "n=0; while [ -e .mcp.json ] && [ $n -lt 200 ]; do usleep 50000; n=$((n+1)); done; echo --; ls -A")
def hooks_stay(run, kernel):
    if not kernel.mounts(run.user):
        run.says("not kept")
        return
    run.op("create:.git/other", "ok")
    for name in ("create:.git/hooks/new", "write:.git/hooks/pre-commit", "write:.git/config", "rename:.git/hooks:x",
                 "rename:.git:y", "mkdir:.git/commondir", "create:.mcp.json"):
        run.op(name, "EROFS", "EBUSY", "EACCES", "EXDEV", "EISDIR", "EEXIST")
    # Its helper has taken the stand-in away.
    run.expect("what is left", ".mcp.json" in run.out.split("--\n")[1], False)


@case("echo secret >.env; mkdir -p keep; echo x >keep/f; $S -- cat .env; echo rc=$?; $S --rw . --ro keep -- probe write:keep/f rename:keep:k; echo rc=$?; cat keep/f")
def kept_from_a_grant(run, kernel):
    if kernel.mounts(run.user):
        run.silent("secret")
        run.op("write:keep/f", "EROFS", "EACCES")
        run.op("rename:keep:k", "EBUSY", "EXDEV", "EACCES")
    else:
        # The file that is only hidden is said not to be kept; the one that was named is vital.
        run.says("not kept", "rc=125")
    run.expect("the file", run.out.rstrip().split("\n")[-1], "x")


@case("$S --profile strict -- probe read:../out/f; echo rc=$?; $S -- $S -- probe read:../out/f read:/etc/passwd; echo rc=$?")
def strict_and_nested(run, kernel):
    run.expect("status", re.findall(r"rc=(\d+)", run.out), ["0", "0"])
    run.op("read:../out/f", "EACCES" if kernel.abi else "ok")
    run.op("read:/etc/passwd", "ok")


# Being asked by the kernel


@case("$S --explain-denials -- cat ../out/f; echo rc=$?")
def denials_are_explained(run, kernel):
    run.says("denied: ", "out/f", "--ro", f"rc={1 if kernel.abi else 0}")


@case("$S --explain-denials -- sh -c 'cat ../out/f & wait; probe connect:7001; exit 7'; echo rc=$?; "
      "$S --explain-denials -- sh -c 'kill -KILL $$'; echo rc=$?")
def denials_of_children(run, _kernel):
    run.says("denied: ", "out/f")
    run.op("connect:7001", "ok")
    run.expect("status", re.findall(r"rc=(\d+)", run.out), ["7", "137"])


@case("$S learn --output ../data/l.toml -- cat ../out/f; echo rc=$?; cat ../data/l.toml")
def a_profile_is_learnt(run, _kernel):
    run.says("outside", "rc=0", "[sandbox.profile.", "/out")


@case("$S --status-fd 5 -- true 5>../data/st; grep -c schema ../data/st; $S --die-with-parent --rlimit nofile=64 -- sh -c 'ulimit -n; exit 3'; echo rc=$?; $S -- nothing; echo rc=$?")
def the_rest_of_a_wrapper(run, _kernel):
    run.says("64\n")
    run.expect("status", re.findall(r"rc=(\d+)", run.out), ["3", "127"])
