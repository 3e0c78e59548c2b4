"""A stand-in for the hub on the loopback interface, enough for the real client libraries.

    ROOT/{datasets,models}/<owner>/<name>/<40-digit commit>/<files>   one folder per commit
    ROOT/{datasets,models}/<owner>/<name>/refs.json                   {"main": "<commit>", ...}

    python tests/hub/server.py ROOT [--port 8123]; HF_ENDPOINT=http://127.0.0.1:8123 <command>

``faults`` is a list of rules ``{match: regex on "METHOD path", status, times, code, message,
headers, truncate, corrupt, drop, delay, moved}``: ``times`` counts down (absent: always),
``truncate`` sends so many bytes of a longer body, ``corrupt`` a body of the right length with other
bytes, ``drop`` closes the connection, ``delay`` waits so many seconds, ``moved`` redirects to the
same page. ``log`` holds every request as "METHOD path". Large files lie on "another
host" (localhost for 127.0.0.1), as on the hub: clients take a HEAD's headers only from there.
"""

import argparse
import hashlib
import json
import re
import threading
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

LFS = (".parquet", ".safetensors", ".bin", ".model")  # kept outside git on the hub
REPO = r"/api/(datasets|models)/([^/]+/[^/]+?)"


@lru_cache(maxsize=4096)
def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@lru_cache(maxsize=4096)
def git_oid(path: Path) -> str:
    """Git's name of a file; of a large one's pointer, which is all that git has of it."""
    data = path.read_bytes()
    if path.suffix in LFS:
        spec = "version https://git-lfs.github.com/spec/v1"
        data = f"{spec}\noid sha256:{sha256(path)}\nsize {len(data)}\n".encode()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves a folder until :meth:`stop`; ``url`` is its address."""

    daemon_threads = True

    def __init__(self, root: Path, port: int = 0):
        super().__init__(("127.0.0.1", port), Handler)
        self.root, self.faults, self.log = Path(root).resolve(), [], []
        self.lock, self.hush = threading.Lock(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.hush.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        pass  # a client that hangs up is no error of the server


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.route()

    def do_HEAD(self):
        self.route()

    def do_POST(self):
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.route()

    def route(self):
        parts = urlsplit(self.path)
        path, self.query = unquote(parts.path), parse_qs(parts.query)
        with self.server.lock:
            self.server.log.append(f"{self.command} {path}")
        if self.fault(path):
            return None
        for pattern, answer in (
            (rf"{REPO}(?:/revision/(.+))?", self.info),
            (rf"{REPO}/tree/([^/]+)(?:/(.*))?", self.tree),
            (rf"{REPO}/paths-info/([^/]+)", self.paths),
            (r"/(datasets)/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.file),
            (r"/()([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.file),
            (r"/lfs/(.+)", self.large),
        ):
            if match := re.fullmatch(pattern, path):
                return answer(*match.groups())
        return self.json({"error": "no such page"}, 404)

    def commit(self, kind: str, name: str, revision: str | None) -> Path | None:
        """The folder of a revision, or None after an error answer."""
        repo = self.server.root / kind / name
        if not repo.is_dir():  # 401, so as not to tell strangers what exists
            said = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
            self.json({"error": "Repository not found"}, 401, said)
            return None
        commit = json.loads((repo / "refs.json").read_text()).get(revision or "main", revision)
        if not (repo / commit).is_dir():
            said = {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"}
            self.json({"error": "Invalid rev id"}, 404, said)
            return None
        return repo / commit

    def info(self, kind, name, revision):
        if folder := self.commit(kind, name, revision):
            names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))
            more = {"private": False, "gated": False, "disabled": False, "tags": []}
            siblings = [{"rfilename": n} for n in names if (folder / n).is_file()]
            self.json({"id": name, "sha": folder.name, "siblings": siblings} | more)

    def entry(self, folder: Path, path: Path) -> dict:
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            return {"type": "directory", "oid": "0" * 40, "size": 0, "path": name}
        size = path.stat().st_size
        made = {"type": "file", "oid": git_oid(path), "size": size, "path": name}
        if path.suffix in LFS:
            made["lfs"] = {"oid": sha256(path), "size": size, "pointerSize": 130}
        return made

    def tree(self, kind, name, revision, below):
        if folder := self.commit(kind, name, revision):
            start = folder / (below or "")
            deep = self.query.get("recursive", [""])[0].lower() in ("true", "1")
            listed = sorted(start.rglob("*") if deep else start.iterdir())
            self.json([self.entry(folder, path) for path in listed])

    def paths(self, kind, name, revision):
        if folder := self.commit(kind, name, revision):
            wanted = json.loads(self.body)["paths"]
            self.json([self.entry(folder, folder / p) for p in wanted if (folder / p).exists()])

    def file(self, kind, name, revision, inside):
        folder = self.commit(kind or "models", name, revision)
        if folder is None:
            return
        path, head = folder / inside, {"X-Repo-Commit": folder.name}
        if not path.is_file():
            said = {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            self.json({"error": "Entry not found"}, 404, head | said)
        elif path.suffix in LFS:
            host, _, port = self.headers["Host"].partition(":")
            other = "localhost" if host == "127.0.0.1" else "127.0.0.1"
            where = f"http://{other}:{port}/lfs/{path.relative_to(self.server.root).as_posix()}"
            size, etag = str(path.stat().st_size), f'"{sha256(path)}"'
            head |= {"X-Linked-Etag": etag, "X-Linked-Size": size, "Location": where}
            self.answer(302, b"", head)
        else:
            self.send(path, head | {"ETag": f'"{git_oid(path)}"'})

    def large(self, inside):
        self.send(self.server.root / inside, {})

    def send(self, path: Path, head: dict):
        data, status = path.read_bytes(), 200
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            first, last = int(match[1]), int(match[2] or len(data) - 1)
            head |= {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
            data, status = data[first : last + 1], 206
        if self.corrupt:
            data = bytes(byte ^ 1 for byte in data)
        self.answer(status, data, head | {"Accept-Ranges": "bytes"})

    def json(self, value, status=200, head=None):
        data = json.dumps(value).encode()
        self.answer(status, data, (head or {}) | {"Content-Type": "application/json"})

    def answer(self, status: int, data: bytes, head: dict):
        self.send_response(status)
        for key, text in head.items():
            self.send_header(key, text)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: self.truncate])
            if self.truncate is not None:
                self.close_connection = True

    def fault(self, path: str) -> bool:
        """True when a rule has answered this request, or dropped it."""
        self.truncate, self.corrupt = None, False
        with self.server.lock:
            for rule in self.server.faults:
                if rule.get("times", 1) > 0 and re.search(rule["match"], f"{self.command} {path}"):
                    if "times" in rule:
                        rule["times"] -= 1
                    break
            else:
                return False
        self.truncate, self.corrupt = rule.get("truncate"), rule.get("corrupt", False)
        if rule.get("drop"):
            self.close_connection = True
            return True
        self.server.hush.wait(rule.get("delay", 0))
        if "status" in rule:
            head = dict(rule.get("headers", {}))
            if "moved" in rule:
                head["Location"] = f"{self.server.url}{self.path}"
            if "code" in rule:
                head |= {"X-Error-Code": rule["code"]}
            if "message" in rule:
                head |= {"X-Error-Message": rule["message"]}
            self.json({"error": rule.get("message", "injected")}, rule["status"], head)
            return True
        return False


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--port", type=int, default=8123)
    arguments = parser.parse_args()
    print(Server(arguments.root, arguments.port).url, flush=True)
    threading.Event().wait()
