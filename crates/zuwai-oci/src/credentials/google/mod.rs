//! Credentials for Google's registries, from where Google's libraries look for them ("Application Default
//! Credentials"): the file that is named, else the one that `gcloud` writes, else the machine's metadata server.

mod application;
mod aws_subject;
mod federation;
mod host;
mod impersonation;
mod metadata;
mod service_account;
mod token;

use std::path::PathBuf;

use futures_util::future::BoxFuture;
use reqwest::Client;
use url::Url;

use crate::credentials::aws::AwsSettings;
use crate::credentials::cloud::request::address;
use crate::credentials::cloud::{CloudClient, SettingsFile};
use crate::credentials::{Credential, CredentialSource, Granted};
use crate::reference::Reference;

use host::is_google;
use token::AccessToken;

/// What a token is asked to be good for.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Where credentials may come from, as the program found it. `Debug` shows no secret.
#[derive(Clone, Debug, Default)]
pub struct GoogleSettings {
    /// `GOOGLE_APPLICATION_CREDENTIALS`: a file of credentials that must be there.
    pub credentials: Option<SettingsFile>,
    /// The file that `gcloud auth application-default login` writes, if it is there.
    pub well_known: Option<SettingsFile>,
    /// Host and port of the metadata server (`GCE_METADATA_HOST`); none where it is not to be asked.
    pub metadata_host: Option<String>,
    /// Hosts (with their ports) that files may send us to beside Google's own, and without TLS; none usually.
    pub trusted_hosts: Vec<String>,
    /// Amazon's credentials, for machines there that Google trusts (workload identity federation).
    pub aws: AwsSettings,
}

/// Credentials for Google Artifact Registry and Container Registry.
#[derive(Debug)]
pub struct Google {
    settings: GoogleSettings,
    cloud: CloudClient,
}

/// What is needed to ask.
#[derive(Clone, Copy)]
struct Asking<'a> {
    settings: &'a GoogleSettings,
    cloud: &'a CloudClient,
    web: &'a Client,
}

impl GoogleSettings {
    /// The files of other providers' tokens that the files of credentials name.
    pub fn token_files(&self) -> Vec<PathBuf> {
        let files = [&self.credentials, &self.well_known].into_iter().flatten();
        let texts = files.filter_map(|file| file.text().ok().flatten());
        texts.filter_map(application::token_file).collect()
    }
}

impl Google {
    /// With Google's credentials from these places.
    pub fn new(settings: GoogleSettings, cloud: CloudClient) -> Self {
        Self { settings, cloud }
    }

    async fn token(&self, web: &Client) -> Result<Option<AccessToken>, String> {
        let Self { settings, cloud } = self;
        let asking = Asking { settings, cloud, web };
        if let Some(file) = &settings.credentials {
            let Some(text) = file.text()? else {
                return Err(format!(
                    "{} (GOOGLE_APPLICATION_CREDENTIALS) is not there",
                    file.path().display()
                ));
            };
            return application::token(asking, file.path(), text).await.map(Some);
        }
        if let Some(file) = &settings.well_known
            && let Some(text) = file.text()?
        {
            return application::token(asking, file.path(), text).await.map(Some);
        }
        match &settings.metadata_host {
            Some(host) => metadata::token(asking, host).await,
            None => Ok(None),
        }
    }
}

impl CredentialSource for Google {
    fn name(&self) -> &str {
        "google"
    }

    fn credential<'a>(
        &'a self,
        reference: &'a Reference,
        web: &'a Client,
    ) -> BoxFuture<'a, Result<Option<Granted>, String>> {
        Box::pin(async move {
            if !is_google(reference.registry()) {
                return Ok(None);
            }
            Ok(self.token(web).await?.map(|token| Granted {
                credential: Credential::Basic {
                    username: "oauth2accesstoken".to_owned(),
                    password: token.secret,
                },
                lifetime: Some(token.lifetime),
            }))
        })
    }
}

impl Asking<'_> {
    /// An address in a file, if it is one of Google's over TLS, or of a host that the settings trust: whoever wrote the
    /// file must not be able to send our secrets elsewhere.
    fn address(&self, what: &str, text: &str) -> Result<Url, String> {
        let url = address(what, text)?;
        let host = url.host_str().unwrap_or_default();
        let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let googles = url.scheme() == "https"
            && url.port().is_none()
            && (host.ends_with(".googleapis.com") || host == "accounts.google.com");
        match googles || self.settings.trusted_hosts.contains(&authority) {
            true => Ok(url),
            false => Err(format!("{what} is on {authority}, which is not Google's; nothing was sent there")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_to_google_alone() {
        let settings =
            GoogleSettings { trusted_hosts: vec!["127.0.0.1:9".to_owned()], ..GoogleSettings::default() };
        let cloud = CloudClient::new().unwrap();
        let web = cloud.nearby();
        let asking = Asking { settings: &settings, cloud: &cloud, web };
        for (text, allowed) in [
            ("https://oauth2.googleapis.com/token", true),
            ("https://sts.googleapis.com/v1/token", true),
            ("https://accounts.google.com/o/oauth2/token", true),
            ("http://127.0.0.1:9/token", true),
            ("http://oauth2.googleapis.com/token", false),
            ("https://oauth2.googleapis.com:8443/token", false),
            ("https://oauth2.googleapis.com.evil.example/token", false),
            ("https://evilgoogleapis.com/token", false),
            ("https://googleapis.com@evil.example/token", false),
            ("https://evil.example/oauth2.googleapis.com", false),
            ("http://127.0.0.1:90/token", false),
            ("not an address", false),
        ] {
            assert_eq!(asking.address("token_uri", text).is_ok(), allowed, "{text}");
        }
    }
}
