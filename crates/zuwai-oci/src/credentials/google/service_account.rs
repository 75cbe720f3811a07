//! Tokens for a service account's key (RFC 7523; Google's "Using OAuth 2.0 for Server to Server Applications").

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::json;

use super::token::AccessToken;
use super::{Asking, SCOPE};
use crate::credentials::cloud::request::post_form;
use crate::secret::Secret;

/// How long an assertion is good for, in seconds; Google takes no longer one.
const LIFETIME: i64 = 3600;

/// A service account's file.
#[derive(Deserialize)]
pub(super) struct ServiceAccount {
    client_email: String,
    private_key: String,
    #[serde(default)]
    private_key_id: String,
    token_uri: String,
}

/// Asks the token server with a signed assertion.
pub(super) async fn token(asking: Asking<'_>, account: &ServiceAccount) -> Result<AccessToken, String> {
    let url = asking.address("token_uri", &account.token_uri)?;
    let assertion = account.assertion(Timestamp::now().as_second())?;
    let fields =
        [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", assertion.reveal())];
    AccessToken::from_reply(asking.cloud.ask(asking.web, post_form(url, &fields)).await?)
}

impl ServiceAccount {
    /// A signed statement of who we are, made at a time in seconds.
    fn assertion(&self, now: i64) -> Result<Secret, String> {
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.private_key_id});
        let claims = json!({
            "iss": self.client_email,
            "scope": SCOPE,
            "aud": self.token_uri,
            "iat": now,
            "exp": now + LIFETIME,
        });
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let signed =
            format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
        let key = PrivatePkcs8KeyDer::from_pem_slice(self.private_key.as_bytes())
            .map_err(|_| "its private_key is not a PEM key in PKCS #8")?;
        let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der())
            .map_err(|_| "its private_key is not an RSA key of 2048 bits or more")?;
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| "its private_key cannot sign")?;
        Ok(Secret::new(format!("{signed}.{}", encode(&signature))))
    }
}
