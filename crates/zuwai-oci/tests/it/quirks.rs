//! What each registry answers in its own way, and what we make of it.
//!
//! `tests/data/exchanges` has a file a registry: where its words come from (documents, sources, public issues; nothing in
//! them was recorded by us), and conversations in which they are said. A conversation is played by a server that checks
//! each request against the script: its method, path and query (`ask`), what it shows of who asks (`shows`; nothing if the
//! script has nothing), which piece it sends (`range`) and its body (`sends`). In the files HOST and STORAGE are the two
//! servers' addresses, and DIGEST, BLOB and MANIFEST a blob's digest, its bytes and a manifest.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use zuwai_oci::credentials::{Credential, Credentials};
use zuwai_oci::error::OciError;
use zuwai_oci::registry::RetryPolicy;
use zuwai_oci::{Descriptor, Family, MediaType, Registry, RegistryOptions, Secret};

use crate::sample::{Sample, image, noise, reference};
use crate::stub::{Asked, Reply, Stub};

/// Every registry whose ways are kept.
const REGISTRIES: [&str; 12] = [
    "acr",
    "artifactory",
    "distribution",
    "docker-hub",
    "ecr",
    "gar",
    "ghcr",
    "gitlab",
    "harbor",
    "nexus",
    "quay",
    "zot",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_registrys_ways_are_followed() {
    let scene = Scene::new();
    let mut wrong = Vec::new();
    for name in REGISTRIES {
        let document = document(name);
        for conversation in document["exchanges"].as_array().unwrap() {
            if let Err(problem) = scene.play(conversation).await {
                wrong.push(format!("{}, {}: {problem}", document["registry"], conversation["name"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_is_played_and_says_where_its_words_come_from() {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<String> =
        files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    assert_eq!(names, REGISTRIES);
    for name in names {
        let document = document(&name);
        let sources = document["sources"].as_array().unwrap();
        assert!(
            !sources.is_empty() && sources.iter().all(|source| source.as_str().unwrap().len() > 20),
            "{name}"
        );
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/exchanges")
}

fn document(name: &str) -> Value {
    let text = std::fs::read(folder().join(format!("{name}.json"))).unwrap();
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A blob and an image to talk about.
struct Scene {
    sample: Sample,
    blob: Descriptor,
    bytes: Vec<u8>,
}

/// What is still to come, and what was not as the script says.
#[derive(Default)]
struct Script {
    steps: VecDeque<Value>,
    wrong: Vec<String>,
}

impl Scene {
    fn new() -> Self {
        let (sample, bytes) = (image(Family::Oci, "quirks"), noise(1000));
        sample.store.put_bytes(&bytes).unwrap();
        Self { sample, blob: Descriptor::of(MediaType::OciLayer, &bytes), bytes }
    }

    async fn play(&self, conversation: &Value) -> Result<(), String> {
        let script = Arc::new(Mutex::new(Script::default()));
        let [host, storage] = ["registry", "storage"].map(|place| {
            let (script, bytes) = (script.clone(), self.bytes.clone());
            let manifest = self.sample.image.manifest_bytes().to_vec();
            Stub::start(move |asked| match asked.target.as_str() {
                "/v2/" => None,
                _ => Some(script.lock().unwrap().answer(place, asked, &bytes, &manifest)),
            })
        });
        let steps = self.fill_in(&conversation["steps"], &host.address, &storage.address);
        script.lock().unwrap().steps = steps.as_array().unwrap().iter().cloned().collect();
        let outcome = self.carry_out(conversation, &host.address).await;
        let script = script.lock().unwrap();
        if !script.wrong.is_empty() || !script.steps.is_empty() {
            return Err(format!("{:?}; not asked: {:?}; {outcome:?}", script.wrong, script.steps));
        }
        judge(conversation, outcome)
    }

    /// The script with the names in it replaced.
    fn fill_in(&self, steps: &Value, host: &str, storage: &str) -> Value {
        let digest = self.blob.digest.to_string();
        let escaped = |text: &str| text.replace(':', "%3A");
        let text = steps
            .to_string()
            .replace("DIGEST_ESCAPED", &escaped(&digest))
            .replace("DIGEST", &digest)
            .replace("HOST_ESCAPED", &escaped(host))
            .replace("HOST", host)
            .replace("STORAGE", storage);
        serde_json::from_str(&text).unwrap()
    }

    async fn carry_out(&self, conversation: &Value, host: &str) -> Result<(), OciError> {
        let mut options = RegistryOptions {
            // The script has every request.
            retry: RetryPolicy { pull: 0, push: 0, ..RetryPolicy::default() },
            chunk_size: conversation["chunk_size"].as_u64(),
            ..RegistryOptions::default()
        };
        if conversation["credentials"] == true {
            let mut credentials = Credentials::default();
            let username = "robot$team+ci".to_owned();
            credentials.insert(host, Credential::Basic { username, password: Secret::new("hunter2") });
            options.credentials = credentials;
        }
        let client = Registry::new(options).unwrap();
        let repository = conversation["repository"].as_str().unwrap_or("team/app");
        let name = reference(&format!("{host}/{repository}:1"));
        let (image, store) = (&self.sample.image, &self.sample.store);
        match conversation["do"].as_str().unwrap() {
            "resolve" => client.manifest(&name).await.map(drop),
            "check" => client.check_push_permission(&name).await,
            "push-manifest" => client.put_manifest(&name, image.media_type(), image.manifest_bytes()).await,
            "push-blob" => client.push_blob(&name, &self.blob, store, None).await,
            "mount" => {
                let base = reference(&format!("{host}/team/base:1"));
                client.push_blob(&name, &self.blob, store, Some(&base)).await
            }
            "download" => {
                let (_directory, store) = crate::sample::empty_store();
                client.fetch_blob(&name, &self.blob, &store).await
            }
            other => panic!("there is no {other}"),
        }
    }
}

impl Script {
    /// The next answer; what is asked must be what the script has next.
    fn answer(&mut self, place: &str, asked: &Asked, blob: &[u8], manifest: &[u8]) -> Reply {
        let ask = format!("{} {}", asked.method, asked.target);
        let Some(step) = self.steps.pop_front() else {
            self.wrong.push(format!("{ask} is asked after the end"));
            return Reply::status(500);
        };
        let shows = step["shows"].as_str();
        let shown = asked.authorization.as_deref();
        let range = asked.header("content-range");
        for (is_right, what) in [
            (step["at"].as_str().unwrap_or("registry") == place, "where it is asked"),
            (step["ask"] == ask, "what is asked"),
            (shows.is_some() == shown.is_some(), "whether it is shown who asks"),
            (shown.unwrap_or_default().starts_with(shows.unwrap_or_default()), "who asks"),
            (step["range"].as_str() == range, "the range"),
            (step["sends"] != "BLOB" || asked.body == blob, "the body"),
        ] {
            if !is_right {
                self.wrong
                    .push(format!("{what} is not as in the script: {ask} {shown:?} {range:?} for {step}"));
            }
        }
        let body = match &step["body"] {
            Value::Null => Vec::new(),
            Value::String(text) if text == "BLOB" => blob.to_vec(),
            Value::String(text) if text == "MANIFEST" => manifest.to_vec(),
            Value::String(text) => text.clone().into_bytes(),
            document => document.to_string().into_bytes(),
        };
        let status = u16::try_from(step["status"].as_u64().unwrap()).unwrap();
        let mut reply = Reply::body(status, body);
        for (name, value) in step["headers"].as_object().into_iter().flatten() {
            reply = reply.header(name, value.as_str().unwrap());
        }
        reply
    }
}

/// Compares what came of a conversation with what it says.
fn judge(conversation: &Value, outcome: Result<(), OciError>) -> Result<(), String> {
    let expected = conversation["expect"].as_str().unwrap();
    let Err(error) = outcome else {
        return (expected == "ok").then_some(()).ok_or(format!("it went well, expected was {expected}"));
    };
    let shown = format!("{:?}", error.root());
    let (message, hint) = (error.to_string(), error.hint().unwrap_or_default());
    let says = conversation["says"].as_array().cloned().unwrap_or_default();
    let says_all = says.iter().all(|part| message.contains(part.as_str().unwrap()));
    for (is_right, what) in [
        (shown.split(' ').next() == Some(expected), "the kind"),
        (says_all, "what it says"),
        (message.contains("127.0.0.1"), "where"),
        (hint.contains(conversation["hint"].as_str().unwrap_or_default()), "the hint"),
        (error.is_immutable_tag() == (conversation["immutable_tag"] == true), "whether a tag is immutable"),
        (error.is_temporary() == (conversation["temporary"] == true), "whether it passes"),
        (!format!("{shown}{message}{hint}").contains("hunter2"), "the secret"),
    ] {
        if !is_right {
            return Err(format!("{what} is not as expected: {shown}: {message} ({hint})"));
        }
    }
    Ok(())
}
