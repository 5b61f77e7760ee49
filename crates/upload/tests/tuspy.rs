//! A client that others wrote: `tuspy` of the Python index, run through `python3`.
//!
//! Where `python3` or the package cannot be had a test prints that it is skipped, but fails in CI.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod ground;

use ground::{Ground, SOUND};
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "tuspy==1.1.0";

/// Uploads as the library does, stops midway, and goes on as another process would.
const SCRIPT: &str = r#"
import sys
from tusclient.client import TusClient
base, secret, path, chunk = sys.argv[1:]
client = TusClient(base + "/uploads", headers={"Authorization": "Bearer " + secret})
def uploader(**more):
    return client.uploader(path, chunk_size=int(chunk), upload_checksum=True, **more)
first = uploader(metadata={"filename": "use.csv"})
first.upload_chunk()
again = uploader(url=first.url)
assert again.offset == int(chunk), again.offset
again.upload()
print(first.url, end="")
"#;

/// Installs, and bears with a registry that fails now and then.
const PIP: [&str; 6] = ["-m", "pip", "install", "--quiet", "--retries", "10"];

/// A Python that has the package; made once per target folder.
fn python() -> Option<PathBuf> {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tuspy");
    let python = venv.join("bin/python");
    let runs = |command: &mut Command| command.output().is_ok_and(|out| out.status.success());
    let has_package = || runs(Command::new(&python).args(["-c", "import tusclient.client"]));
    let made = has_package()
        || (runs(Command::new("python3").args(["-m", "venv"]).arg(&venv))
            && runs(Command::new(&python).args(PIP).arg(PACKAGE))
            && has_package());
    if !made {
        let text = format!("`python3 -m venv` and `pip install {PACKAGE}` do not work here");
        assert!(std::env::var_os("CI").is_none(), "{text}");
        println!("skipped: {text}");
    }
    made.then_some(python)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_client_uploads_resumes_and_is_understood() {
    let Some(python) = python() else { return };
    let ground = Ground::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("export");
    std::fs::write(&file, SOUND).unwrap();
    let mut client = Command::new(python);
    client.args(["-c", SCRIPT, &ground.url(""), &ground.secret]).arg(&file).arg("16");
    let output = tokio::task::spawn_blocking(move || client.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let url = String::from_utf8(output.stdout).unwrap();
    let upload = url.strip_prefix(&ground.url("")).unwrap();
    assert_eq!(ground.ended(upload).await["state"], "accepted");
    assert_eq!(ground.source_file("use.csv"), Some(SOUND.to_vec()));
}
