//! Keeping a credential in docker's `config.json`, or where it says that credentials are kept.
//!
//! The file is changed under a lock on its directory, and everything that is not changed stays as it is. It appears by a
//! rename, readable by its owner alone; where its name is a link, the file behind it is replaced.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize as _;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value, json};

use super::docker_config::{CONFIG_LIMIT, DockerConfig};
use super::key::normalise_key;
use super::{Credential, Helpers, RegistryKey};
use crate::error::{IoContext as _, OciError};
use crate::go_json::from_object;
use crate::store::read_limited;

/// Where a credential was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Into this file, which anybody who can read it can use.
    File(PathBuf),
    /// To a helper program, named without `docker-credential-`.
    Helper(String),
}

/// Keeps a credential: in the file, or with the helper program that the file names for the registry. What was kept for
/// the same registry before is replaced.
///
/// # Errors
/// When the file is malformed or cannot be written, or the helper fails.
pub fn store(
    path: &Path,
    registry: &RegistryKey,
    credential: &Credential,
    helpers: &Helpers,
) -> Result<Stored, OciError> {
    let mut file = ConfigFile::open(path)?;
    let helper = file.config.helper_for(registry.as_str()).map(str::to_owned);
    file.remove(registry);
    let (entry, stored) = match helper {
        Some(name) => {
            let kept = helpers.store(&name, registry.as_str(), credential);
            kept.map_err(|problem| OciError::CredentialHelper { name: name.clone(), problem })?;
            // As docker has it: the entry says that there is one.
            (json!({}), Stored::Helper(name))
        }
        None => (entry(credential), Stored::File(file.path.clone())),
    };
    file.auths()?.insert(registry.server().to_owned(), entry);
    file.save()?;
    Ok(stored)
}

/// Forgets what is kept for a registry, in the file and with the helper program that it names; `false` if there was
/// nothing.
///
/// # Errors
/// As [`store`].
pub fn erase(path: &Path, registry: &RegistryKey, helpers: &Helpers) -> Result<bool, OciError> {
    if !path.exists() {
        return Ok(false);
    }
    let mut file = ConfigFile::open(path)?;
    let mut found = false;
    if let Some(name) = file.config.helper_for(registry.as_str()) {
        let erased = helpers.erase(name, registry.as_str());
        found = erased.map_err(|problem| OciError::CredentialHelper { name: name.to_owned(), problem })?;
    }
    if file.remove(registry) {
        found = true;
        file.save()?;
    }
    Ok(found)
}

/// An entry of `auths`.
fn entry(credential: &Credential) -> Value {
    match credential {
        Credential::Basic { username, password } => {
            json!({"auth": STANDARD.encode(format!("{username}:{}", password.reveal()))})
        }
        Credential::IdentityToken(token) => json!({"identitytoken": token.reveal()}),
        Credential::RegistryToken(token) => json!({"registrytoken": token.reveal()}),
    }
}

/// The file, and the lock that nobody else changes it meanwhile.
struct ConfigFile {
    /// Where the file is, links followed.
    path: PathBuf,
    document: Map<String, Value>,
    config: DockerConfig,
    directory: File,
}

impl ConfigFile {
    fn open(path: &Path) -> Result<Self, OciError> {
        let path = match fs::canonicalize(path) {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(error).at("open", path),
        };
        let place = path.parent().filter(|place| !place.as_os_str().is_empty()).unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(place).at("create", place)?;
        let directory = File::open(place).at("open", place)?;
        directory.lock().at("lock", place)?;
        let bytes = match read_limited(&path, CONFIG_LIMIT) {
            Err(OciError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Vec::new(),
            bytes => bytes?,
        };
        // Read as it will be: what would then be malformed is not written back.
        let config = DockerConfig::parse(&path, &bytes)?;
        let document = match bytes.trim_ascii().is_empty() {
            true => Map::new(),
            false => from_object(&bytes).map_err(|_| malformed(&path))?,
        };
        Ok(Self { path, document, config, directory })
    }

    fn auths(&mut self) -> Result<&mut Map<String, Value>, OciError> {
        let auths = self.document.entry("auths").or_insert(Value::Null);
        if auths.is_null() {
            *auths = json!({});
        }
        auths.as_object_mut().ok_or_else(|| malformed(&self.path))
    }

    /// Removes all entries of a registry, however they are spelled.
    fn remove(&mut self, registry: &RegistryKey) -> bool {
        let Some(auths) = self.document.get_mut("auths").and_then(Value::as_object_mut) else { return false };
        let before = auths.len();
        auths.retain(|key, _| normalise_key(key) != registry.as_str());
        auths.len() < before
    }

    /// Writes the file as docker lays it out.
    fn save(self) -> Result<(), OciError> {
        let mut text = Vec::new();
        let mut serializer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"\t"));
        self.document.serialize(&mut serializer).map_err(|_| malformed(&self.path))?;
        let temporary = self.path.with_extension(format!("json.{}", std::process::id()));
        let written = self.write(&temporary, &text);
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn write(&self, temporary: &Path, text: &[u8]) -> Result<(), OciError> {
        // One that a login left which was killed; in a container the next has the same process id.
        let _ = fs::remove_file(temporary);
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create_new(true).mode(0o600).open(temporary).at("create", temporary)?;
        if let Ok(old) = fs::metadata(&self.path) {
            // root logs in for a user whose file it is; where that is not allowed, the file becomes ours.
            let _ = fchown(&file, Some(old.uid()), Some(old.gid()));
        }
        file.write_all(text).and_then(|()| file.sync_all()).at("write", temporary)?;
        fs::rename(temporary, &self.path).at("replace", &self.path)?;
        self.directory.sync_all().at("sync", &self.path)
    }
}

fn malformed(path: &Path) -> OciError {
    OciError::DockerConfig { path: path.to_owned(), problem: "not the expected JSON".to_owned() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::secret::Secret;

    fn login(path: &Path, registry: &str, password: &str) -> Result<Stored, OciError> {
        let credential = Credential::Basic { username: "me".to_owned(), password: Secret::new(password) };
        store(path, &RegistryKey::parse(registry).unwrap(), &credential, &Helpers::default())
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_login_changes_its_own_entry_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/.docker/config.json");
        login(&path, "docker.io", "p").unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "{\n\t\"auths\": {\n\t\t\"https://index.docker.io/v1/\": {\n\t\t\t\"auth\": \"bWU6cA==\"\n\t\t}\n\t}\n}"
        );

        let before = "{\"zebra\": [1.50, {\"b\": 1, \"a\": null}], \"auths\": {\"https://a.io/v2/\": {\"auth\": \"bWU6b2xk\"},\
                      \"a.io/team\": {\"auth\": \"bWU6dA==\", \"email\": \"x\"}}, \"HttpHeaders\": {\"X\": \"<y>\"}}";
        fs::write(&path, before).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        login(&path, "https://a.io", "new").unwrap();
        let after: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let expected = json!({"zebra": [1.50, {"b": 1, "a": null}], "auths": {
            "a.io/team": {"auth": "bWU6dA==", "email": "x"}, "a.io": {"auth": "bWU6bmV3"}}, "HttpHeaders": {"X": "<y>"}});
        assert_eq!(after.to_string(), expected.to_string(), "the order is kept too");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_stays_and_leads_to_what_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let (link, target) = (directory.path().join("config.json"), directory.path().join("real"));
        fs::write(&target, "{}").unwrap();
        symlink("real", &link).unwrap();
        assert_eq!(login(&link, "a.io", "p").unwrap(), Stored::File(fs::canonicalize(&target).unwrap()));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read_to_string(&target).unwrap().contains("a.io"));
    }

    #[test]
    fn logins_at_the_same_time_are_all_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        // A process locks a directory once an open file, so that its threads keep each other out as processes do; but
        // they share the temporary file's name, which the lock is for too.
        std::thread::scope(|scope| {
            for number in 0..8 {
                let path = &path;
                scope.spawn(move || login(path, &format!("r{number}.io"), "p").unwrap());
            }
        });
        let document: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(document["auths"].as_object().unwrap().len(), 8);
    }

    #[test]
    fn a_malformed_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        for text in ["{", "[]", "{\"auths\": 1}"] {
            fs::write(&path, text).unwrap();
            let error = login(&path, "a.io", "hunter2").unwrap_err();
            assert!(
                matches!(error, OciError::DockerConfig { .. }) && !format!("{error:?}").contains("hunter2")
            );
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_logout_removes_every_spelling() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        let key = RegistryKey::parse("docker.io").unwrap();
        assert!(!erase(&path, &key, &Helpers::default()).unwrap());
        assert!(!path.exists());
        fs::write(&path, r#"{"auths": {"docker.io": {}, "https://index.docker.io/v1/": {}, "a.io": {}}}"#)
            .unwrap();
        assert!(erase(&path, &key, &Helpers::default()).unwrap());
        let document: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(document, json!({"auths": {"a.io": {}}}));
        assert!(!erase(&path, &key, &Helpers::default()).unwrap());
    }

    #[test]
    fn the_keeper_that_the_file_names_is_used() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("docker-credential-safe");
        fs::write(
            &program,
            "#!/bin/sh\necho \"$1 $(cat)\" >> $0.log; echo '{\"Username\":\"u\",\"Secret\":\"s\"}'\n",
        )
        .unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let path_variable = [("PATH".into(), "/usr/bin:/bin".into())];
        let helpers = Helpers::find(["safe"], directory.path().as_os_str(), path_variable);
        let path = directory.path().join("config.json");
        fs::write(&path, r#"{"credsStore": "safe"}"#).unwrap();
        let key = RegistryKey::parse("docker.io").unwrap();
        let credential = Credential::IdentityToken(Secret::new("t"));
        assert_eq!(store(&path, &key, &credential, &helpers).unwrap(), Stored::Helper("safe".to_owned()));
        assert!(erase(&path, &key, &helpers).unwrap());
        let log = fs::read_to_string(directory.path().join("docker-credential-safe.log")).unwrap();
        let hub = "https://index.docker.io/v1/";
        let stored = format!("store {{\"ServerURL\":\"{hub}\",\"Username\":\"<token>\",\"Secret\":\"t\"}}");
        assert_eq!(
            log.lines().collect::<Vec<_>>(),
            [&stored, &format!("get {hub}"), &format!("erase {hub}")].map(String::as_str)
        );
        let document: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(document, json!({"credsStore": "safe", "auths": {}}));

        let error = store(&path, &key, &credential, &Helpers::default()).unwrap_err();
        assert!(error.to_string().contains("docker-credential-safe"), "{error}");
    }
}
