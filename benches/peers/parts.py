"""What a comparison needs, made once below target/peers: convlake, the generator, the peers' Python, data."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WORK = ROOT / "target" / "peers"


def say(text):
    print(f"-- {text}", flush=True)


def convlake():
    """This tree's, as it is released."""
    say("cargo build --release")
    subprocess.run(["cargo", "build", "--locked", "--release"], cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "release" / "convlake"


def generator():
    program = WORK / "generate"
    source = HERE / "generate.rs"
    subprocess.run(["rustc", "--edition", "2024", "-O", "-o", program, source], check=True)
    return program


def python():
    """An environment of the pinned requirements; changing them makes another."""
    pins = HERE / "requirements.txt"
    folder = WORK / f"venv-{hashlib.sha256(pins.read_bytes()).hexdigest()[:16]}"
    interpreter, complete = folder / "bin" / "python", folder / "complete"
    if not complete.exists():
        say("installing the peers")
        subprocess.run(["python3", "-m", "venv", "--clear", folder], check=True)
        pip = [interpreter, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", pins], check=True)
        complete.touch()
    return interpreter


def java():
    """Spark's; any version that it runs on."""
    if shutil.which("java") is None:
        say("installing Java for Spark")
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", "default-jre-headless"], check=True)


def data(program, form, megabytes):
    """A file of conversations, made and read once, so that it is in memory."""
    path = WORK / "data" / f"{form}-{megabytes:g}.jsonl"
    path.parent.mkdir(exist_ok=True)
    say(f"{path.name}")
    subprocess.run([program, form, "--mb", str(megabytes), "--out", path], check=True)
    return path
