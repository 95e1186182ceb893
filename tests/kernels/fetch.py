"""Kernels and busybox out of Debian's and Ubuntu's archives, through an apt of its own below target/.

Nothing of this system's apt is read or changed, and nothing is installed: packages are fetched and unpacked.
"""

import os
import re
import subprocess
import time

DEBIAN_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
# Ubuntu has what Debian never released: Landlock's ABI 1, 3, 4 and 5. Its arm64 lives on another host.
DEBIAN = "deb [arch=amd64,arm64 signed-by={keys}] {url} {suite} main"
UBUNTU = "deb [arch=amd64 signed-by={keys}] {url} {suite} main"
DEBIAN_SUITES = ["bullseye", "bookworm", "trixie", "trixie-backports"]
UBUNTU_SUITES = ["jammy", "jammy-updates", "noble", "noble-updates"]
DEBIAN_URL = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
UBUNTU_URL = os.environ.get("UBUNTU_MIRROR", "http://archive.ubuntu.com/ubuntu")


class Missing(Exception):
    """Something that cannot be had here, and why."""


def natural(name):
    """Sorts 6.1.9 before 6.1.10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


class Archive:
    """An apt that lives in one directory."""

    def __init__(self, root):
        self.root = root
        self.debs = os.path.join(root, "debs")
        for part in ("etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/trusted.gpg.d", "debs", "keys",
                     "var/lib/apt/lists/partial", "var/lib/dpkg", "var/cache/apt/archives/partial"):
            os.makedirs(os.path.join(root, part), exist_ok=True)
        open(os.path.join(root, "var/lib/dpkg/status"), "a", encoding="ascii").close()
        self.config = os.path.join(root, "apt.conf")
        with open(self.config, "w", encoding="ascii") as file:
            file.write(f'Dir "{root}";\nDir::State::status "{root}/var/lib/dpkg/status";\n'
                       'APT::Architectures { "amd64"; "arm64"; };\nAcquire::Languages "none";\n'
                       'APT::Sandbox::User "root";\nAcquire::Retries "2";\n')
        self.names = None

    def apt(self, *words, limit=600):
        """Output of an apt command, or Missing."""
        environment = dict(os.environ, APT_CONFIG=self.config, LC_ALL="C")
        try:
            done = subprocess.run(words, env=environment, cwd=self.debs, capture_output=True, text=True,
                                  timeout=limit, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Missing(str(error)) from error
        if done.returncode != 0:
            raise Missing((done.stderr.strip() or "apt failed").split("\n")[-1])
        return done.stdout

    def _update(self, lines):
        with open(os.path.join(self.root, "etc/apt/sources.list"), "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
        self.apt("apt-get", "-q", "update")

    def update(self):
        """Fetches the lists, once a day. What Ubuntu's cannot be had for is returned as a line, or nothing."""
        stamp = os.path.join(self.root, "updated")
        if os.path.exists(stamp) and time.time() - os.stat(stamp).st_mtime < 86400:
            return None
        if not os.path.exists(DEBIAN_KEYS):
            raise Missing(f"{DEBIAN_KEYS} (Debian: debian-archive-keyring)")
        debian = [DEBIAN.format(keys=DEBIAN_KEYS, url=DEBIAN_URL, suite=suite) for suite in DEBIAN_SUITES]
        self._update(debian)
        try:
            self.unpack("ubuntu-keyring", "amd64", os.path.join(self.root, "keys"))
            keys = os.path.join(self.root, "keys/usr/share/keyrings/ubuntu-archive-keyring.gpg")
            self._update(debian + [UBUNTU.format(keys=keys, url=UBUNTU_URL, suite=suite) for suite in UBUNTU_SUITES])
        except Missing as why:
            self._update(debian)
            return str(why)
        open(stamp, "w", encoding="ascii").close()
        return None

    def unpack(self, package, arch, to):
        """Fetches a package and unpacks it below `to`, once."""
        done = os.path.join(to, f".{package}-{arch}")
        if os.path.exists(done):
            return
        prefix = f"{package}_"
        had = [name for name in os.listdir(self.debs) if name.startswith(prefix) and name.endswith(f"_{arch}.deb")]
        if not had:
            try:
                self.apt("apt-get", "-q", "download", f"{package}:{arch}")
            except Missing:
                self.apt("apt-get", "-q", "download", f"{package}")
            had = [name for name in os.listdir(self.debs) if name.startswith(prefix)]
        os.makedirs(to, exist_ok=True)
        for name in had:
            subprocess.run(["dpkg-deb", "-x", os.path.join(self.debs, name), to], check=True)
            os.unlink(os.path.join(self.debs, name))
        open(done, "w", encoding="ascii").close()

    def kernel(self, series, arch, to):
        """The newest kernel of a series such as 6.12: its release and its image."""
        if self.names is None:
            self.names = self.apt("apt-cache", "pkgnames", "linux-").split()
        flavours = f"(cloud-{arch}|generic)" if arch == "amd64" else f"cloud-{arch}"
        wanted = re.compile(rf"linux-image-{re.escape(series)}\.[^-]+(-[0-9]+)?-{flavours}")
        found = sorted((name for name in self.names if wanted.fullmatch(name)), key=natural)
        # Names are those of all architectures: the newest may not be there for this one.
        for image in reversed(found[-3:]):
            release = image.removeprefix("linux-image-")
            # Since 7.3 the image is in a package of its own.
            binary = f"linux-binary-{release}"
            package = binary if binary in self.names else image
            try:
                self.unpack(package, arch, to)
            except Missing as why:
                last = why
                continue
            for directory in ("boot", f"usr/lib/modules/{release}"):
                path = os.path.join(to, directory)
                images = [name for name in os.listdir(path) if name.startswith("vmlinu")] if os.path.isdir(path) else []
                for name in images:
                    if name in ("vmlinuz", "vmlinux", f"vmlinuz-{release}", f"vmlinux-{release}"):
                        return release, os.path.join(path, name)
            raise Missing(f"no kernel in {package}")
        raise Missing(str(last) if found else f"no {series} for {arch} in the archives")
