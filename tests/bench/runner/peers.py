# The peers: what a user would take instead, from Debian's packages, unpacked and not installed, so that nobody's machine gets
# a service from a benchmark. Their configurations are in tests/bench/peers.
import json
import os
import pathlib
import socket
import string
import subprocess
import sys
import tempfile

from .servers import Server


class Peers:
    # All in one folder, as in a system, since some of the packages are halves.
    def __init__(self, root):
        self.folder = pathlib.Path(root, "build", "packages", "bench")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.configurations = pathlib.Path(root, "tests", "bench", "peers")
        for line in pathlib.Path(root, "scripts", "packages").read_text().splitlines():
            if line.startswith("bench "):
                self.unpack(line.split()[1])

    # Once.
    def unpack(self, package):
        done = self.folder / f"{package}.done"
        if done.exists():
            return
        print(f"unpacking {package}", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="deb-", dir=self.folder.parent.parent) as part:
            apt = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package]
            if subprocess.run(apt, cwd=part, stdout=sys.stderr).returncode != 0:
                sys.exit(f"tests/bench/run: the package {package} could not be downloaded: no network, or apt-get update is due")
            for deb in pathlib.Path(part).glob("*.deb"):
                subprocess.run(["dpkg", "-x", deb, self.folder], check=True)
        done.touch()

    def path(self, within):
        found = sorted(self.folder.glob(within))
        if not found:
            raise FileNotFoundError(f"no package of scripts/packages has {within}")
        return str(found[0])

    # The environment in which the unpacked programs find the unpacked libraries.
    def environment(self):
        return {"LD_LIBRARY_PATH": ":".join(str(folder) for folder in self.folder.glob("usr/lib/*-linux-gnu"))}

    def start(self, directory, program, arguments, configuration=None, ready=lambda port: None):
        with socket.socket() as some:
            some.bind(("127.0.0.1", 0))
            port = some.getsockname()[1]
        names = {"port": port, "directory": directory}
        if configuration:
            text = (self.configurations / configuration).read_text()
            names["configuration"] = os.path.join(directory, configuration)
            pathlib.Path(names["configuration"]).write_text(string.Template(text).substitute(names))
        argv = [self.path(program), *(argument.format(**names) for argument in arguments)]
        server = Server(argv, directory, port, self.environment())
        try:
            ready(port)
        except BaseException:
            server.kill()
            raise
        return server

    def nginx(self, directory):
        return self.start(directory, "usr/sbin/nginx", ["-p", "{directory}", "-e", "stderr", "-c", "{configuration}"], "nginx.conf")

    def rsyslog(self, directory):
        modules = os.path.dirname(self.path("usr/lib/*/rsyslog/imtcp.so"))
        return self.start(directory, "usr/sbin/rsyslogd",
                          ["-n", "-f", "{configuration}", "-i", "{directory}/pid", "-M", modules], "rsyslog.conf")

    # `how`: no, everysec or always.
    def redis(self, how, directory):
        durable = ["--appendonly", "no" if how == "no" else "yes", "--appendfsync", how]
        return self.start(directory, "usr/bin/redis-server", ["{configuration}", *durable], "redis.conf")

    # Each put synced.
    def beanstalkd(self, directory):
        return self.start(directory, "usr/bin/beanstalkd", ["-l", "127.0.0.1", "-p", "{port}", "-b", "{directory}", "-f0"])

    def nats(self, directory):
        return self.start(directory, "usr/sbin/nats-server", ["-c", "{configuration}"], "nats.conf", make_stream)


# A JetStream stream in a file that keeps the subject `events`.
def make_stream(port):
    wish = json.dumps({"name": "EVENTS", "subjects": ["events"], "storage": "file", "retention": "limits", "discard": "old",
                       "num_replicas": 1, "max_msgs": -1, "max_bytes": -1, "max_age": 0, "max_consumers": -1})
    with socket.create_connection(("127.0.0.1", port), timeout=10) as nats:
        nats.sendall(b'CONNECT {"verbose":false}\r\nSUB made 1\r\n'
                     + f"PUB $JS.API.STREAM.CREATE.EVENTS made {len(wish)}\r\n{wish}\r\n".encode())
        said = b""
        while b"stream_create_response" not in said:
            more = nats.recv(65536)
            if not more:
                raise RuntimeError(f"nats-server makes no stream: {said}")
            said += more
        if b'"error"' in said:
            raise RuntimeError(f"nats-server makes no stream: {said}")
