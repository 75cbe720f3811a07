//! The clouds' credentials against servers that check what they are sent.

mod azure;
mod ecr;
mod ecr_chain;
mod google;
mod google_federation;
mod signature;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zuwai_oci::credentials::cloud::{CloudClient, SettingsFile};
use zuwai_oci::credentials::{Credential, CredentialSource, Granted};
use zuwai_oci::{Registry, RegistryOptions};

use crate::stub::{Reply, Stub};

/// What no error may show. Every secret in these tests holds it.
pub const SECRET: &str = "hunter2";

/// Asks a source for the credential of an image.
pub async fn ask(source: &dyn CredentialSource, image: &str) -> Result<Option<Granted>, String> {
    let web = Registry::new(RegistryOptions::default()).unwrap().web_client();
    source.credential(&image.parse().unwrap(), &web).await
}

/// The user name and password that a source gives, and for how many minutes, rounded.
pub async fn password(source: &dyn CredentialSource, image: &str) -> (String, String, u64) {
    let granted = ask(source, image).await.unwrap().expect("a credential");
    let Credential::Basic { username, password } = granted.credential else { panic!("no password") };
    let minutes = (granted.lifetime.unwrap() + Duration::from_secs(30)).as_secs() / 60;
    (username, password.reveal().to_owned(), minutes)
}

/// The error of a source, which shows no secret.
pub async fn problem(source: &dyn CredentialSource, image: &str) -> String {
    let problem = ask(source, image).await.unwrap_err();
    assert!(!problem.contains(SECRET), "{problem}");
    assert!(!format!("{source:?}").contains(SECRET), "{source:?}");
    problem
}

/// A client that loses patience soon.
pub fn impatient() -> CloudClient {
    CloudClient::new().unwrap().with_patience(Duration::from_millis(200))
}

/// A server that takes requests and answers none of them.
pub fn silent() -> Stub {
    Stub::start(|_| {
        std::thread::sleep(Duration::from_secs(60));
        Some(Reply::status(500))
    })
}

/// An address where nobody listens.
pub fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Writes a file; for settings of sources.
pub fn write(directory: &Path, name: &str, content: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, content).unwrap();
    path
}

/// Writes a file and reads it as the program does when it starts.
pub fn settings_file(directory: &Path, name: &str, content: &str) -> SettingsFile {
    SettingsFile::read(write(directory, name, content))
}
