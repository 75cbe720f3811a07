//! The servers of the matrix: all that a request for an image may lead to.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use zuwai_oci::credentials::{Credential, CredentialSource, Granted};
use zuwai_oci::{Reference, Secret};

use super::recorder::{ACCESS, CLIENT, CLOUD, SIGNATURE};
use crate::stub::{Asked, Reply, Stub};

/// What a registry asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    Basic,
    /// A token, from a server that speaks OAuth2.
    Token,
    /// A token, from a server that does not.
    OldToken,
}

/// A registry with its token server and its storage, another registry with its token server, and a cloud.
pub struct Scene {
    pub registry: Stub,
    pub tokens: Stub,
    pub storage: Arc<Stub>,
    pub other: Stub,
    pub other_tokens: Stub,
    pub cloud: Stub,
}

impl Scene {
    /// The registry takes any credential, or the token that its server gives. Its blobs are elsewhere, and uploads go there.
    pub fn new(wants: Wants, blob: Vec<u8>, manifest: Vec<u8>) -> Self {
        let storage = Arc::new(Stub::start(move |asked| {
            Some(match asked.method.as_str() {
                "GET" => Reply::body(200, blob.clone()),
                "PATCH" => Reply::status(202).header("Location", asked.target.clone()),
                _ => Reply::status(201),
            })
        }));
        let tokens = Stub::start(move |asked| {
            Some(match asked.method.as_str() {
                "POST" if wants == Wants::OldToken => Reply::status(404),
                _ => Reply::body(200, format!("{{\"token\": \"{ACCESS}\", \"expires_in\": 300}}")),
            })
        });
        let elsewhere = format!("http://{}", storage.address);
        let challenge = challenge(wants, &tokens);
        let registry = Stub::start(move |asked| {
            Some(match asked.authorization {
                Some(_) if !asked.target.ends_with("/manifests/expired") => {
                    open(asked, &elsewhere, &manifest)
                }
                _ => Reply::status(401).header("WWW-Authenticate", challenge.clone()),
            })
        });
        let other_tokens = Stub::start(|_| Some(Reply::status(403)));
        let other_challenge = super::scene::challenge(wants, &other_tokens);
        let other = Stub::start(move |_| {
            Some(Reply::status(401).header("WWW-Authenticate", other_challenge.clone()))
        });
        let cloud = Stub::start(|_| Some(Reply::body(200, CLOUD)));
        Self { registry, tokens, storage, other, other_tokens, cloud }
    }

    /// All places by name.
    pub fn places(&self) -> [(&'static str, &Stub); 6] {
        [
            ("registry", &self.registry),
            ("tokens", &self.tokens),
            ("storage", &self.storage),
            ("other", &self.other),
            ("other tokens", &self.other_tokens),
            ("cloud", &self.cloud),
        ]
    }

    /// A repository of the registry.
    pub fn image(&self, name: &str) -> Reference {
        format!("{}/{name}", self.registry.address).parse().unwrap()
    }

    /// A repository of the other registry, which is on another host by its name too.
    pub fn others_image(&self, name: &str) -> Reference {
        format!("{}/{name}", self.other.address.replace("127.0.0.1", "localhost")).parse().unwrap()
    }
}

fn challenge(wants: Wants, tokens: &Stub) -> String {
    match wants {
        Wants::Basic => "Basic realm=\"here\"".to_owned(),
        Wants::Token | Wants::OldToken => {
            format!("Bearer realm=\"http://{}/token\",service=\"s\"", tokens.address)
        }
    }
}

/// What a registry answers to those it knows.
pub fn open(asked: &Asked, elsewhere: &str, manifest: &[u8]) -> Reply {
    let path = asked.target.split('?').next().unwrap_or_default();
    match asked.method.as_str() {
        _ if path == "/v2/" => Reply::status(200),
        "GET" if path.contains("/blobs/sha256:") => {
            Reply::status(307).header("Location", format!("{elsewhere}/signed?Signature={SIGNATURE}"))
        }
        "POST" if path.ends_with("/blobs/uploads/") => {
            Reply::status(202).header("Location", format!("{elsewhere}/upload/1?state=x"))
        }
        "PUT" if path.contains("/manifests/") => Reply::status(201),
        "GET" if path.ends_with("/manifests/known") => {
            let media_type = "application/vnd.oci.image.manifest.v1+json";
            Reply::body(200, manifest).header("Content-Type", media_type)
        }
        "GET" if path.ends_with("/manifests/forbidden") => Reply::status(403),
        "GET" if path.ends_with("/manifests/moved") => {
            Reply::status(307).header("Location", format!("http://127.0.0.1:1/signed?Signature={SIGNATURE}"))
        }
        "GET" if path.ends_with("/manifests/lost") => {
            Reply::status(307).header("Location", format!("ftp://127.0.0.1:1/signed?Signature={SIGNATURE}"))
        }
        _ => Reply::status(404),
    }
}

/// A cloud's way: a secret of the client's is changed for a password, for one registry.
#[derive(Debug)]
pub struct Cloud {
    pub registry: String,
    pub url: String,
}

impl CredentialSource for Cloud {
    fn name(&self) -> &str {
        "cloud"
    }

    fn credential<'a>(
        &'a self,
        reference: &'a Reference,
        web: &'a reqwest::Client,
    ) -> BoxFuture<'a, Result<Option<Granted>, String>> {
        Box::pin(async move {
            if reference.registry() != self.registry {
                return Ok(None);
            }
            let body: String = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("client_secret", CLIENT)
                .finish();
            let sent = web.post(&self.url).body(body).send().await.map_err(|error| error.to_string())?;
            let password = sent.text().await.map_err(|error| error.to_string())?;
            let credential =
                Credential::Basic { username: "cloud".to_owned(), password: Secret::new(password) };
            Ok(Some(Granted { credential, lifetime: None }))
        })
    }
}
