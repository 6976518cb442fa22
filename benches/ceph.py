"""Ceph's object gateway over a cluster of one monitor and one OSD, each a process in the foreground. From Debian: ceph-mon,
ceph-osd, ceph-common, radosgw."""

import json
import subprocess
import time
import uuid

from servers import Server, free_port

CONFIG = """
[global]
fsid = {fsid}
mon initial members = a
mon host = v2:127.0.0.1:{mon}
ms bind ipv6 = false
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = {dir}/keyring
run dir = {dir}
pid file = {dir}/$name.pid
admin socket = {dir}/$name.asok
log file = {dir}/$name.log
auth allow insecure global id reclaim = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
mon warn on pool no redundancy = false
mon data = {dir}/mon
mon allow pool size one = true
# Of a disk that is nearly full, the monitor would stop.
mon data avail warn = 2
mon data avail crit = 1
setuser match path =
[osd]
osd data = {dir}/osd
osd objectstore = bluestore
bluestore block create = true
bluestore block size = 21474836480
osd memory target = 939524096
"""


class CephRgw(Server):
    """Writes are on stable storage before they are answered: BlueStore has no other way."""

    name = "Ceph RGW"
    durability = "synced"
    # Debian's, Pacific, does not know trailers.
    payload = "unsigned"

    def __init__(self, directory):
        super().__init__(directory)
        here, mon, s3 = self.directory, free_port(), free_port()
        fsid, config, keyring = uuid.uuid4(), here / "ceph.conf", here / "keyring"
        config.write_text(CONFIG.format(fsid=fsid, mon=mon, dir=here))
        common = ["-c", config]

        def run(*command):
            command = [str(part) for part in command]
            return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout

        def key_of(name, *capabilities):
            caps = [part for service in capabilities for part in ("--cap", service, "allow *")]
            run("ceph-authtool", *(["--create-keyring"] if name == "mon." else []), keyring, "--gen-key", "-n", name, *caps)

        key_of("mon.", "mon")
        key_of("client.admin", "mon", "osd", "mgr")
        run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{mon}]", here / "monmap")
        run("ceph-mon", *common, "--mkfs", "-i", "a", "--monmap", here / "monmap", "--keyring", keyring)
        self.spawn("ceph-mon", *common, "-f", "-i", "a")

        osd, key = uuid.uuid4(), run("ceph-authtool", "--gen-print-key").strip()
        secret = here / "osd.json"
        secret.write_text(json.dumps({"cephx_secret": key}))
        run("ceph", *common, "osd", "new", osd, "-i", secret)
        (here / "osd").mkdir()
        run("ceph-osd", *common, "-i", "0", "--mkfs", "--key", key, "--osd-uuid", osd)
        (here / "osd" / "keyring").write_text(f"[osd.0]\n\tkey = {key}\n")
        self.spawn("ceph-osd", *common, "-f", "-i", "0", "--keyring", here / "osd" / "keyring")
        while "1 up" not in run("ceph", *common, "osd", "stat"):
            time.sleep(1)

        front = f"--rgw-frontends=beast endpoint=127.0.0.1:{s3}"
        self.spawn("radosgw", *common, "-f", "-n", "client.admin", front, "--rgw-data", here)
        self.endpoint = f"http://127.0.0.1:{s3}"
        self.wait_for(self.endpoint, seconds=180)
        keys = ("--access-key", self.access_key, "--secret-key", self.secret_key)
        run("radosgw-admin", *common, "user", "create", "--uid=bench", "--display-name=bench", *keys)
