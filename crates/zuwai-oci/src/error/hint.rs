//! What the user can do about an error.

use super::{Answer, FormatError, OciError};
use crate::registry::failure::certificate_hint;

impl OciError {
    /// What the user can do about it, to be shown after the error and its causes.
    pub fn hint(&self) -> Option<String> {
        if self.is_immutable_tag() {
            let text = "the tag exists and may not be moved; push another tag, or let --push-ignore-immutable-tag-errors take it as it is";
            return Some(text.to_owned());
        }
        Some(match self.root() {
            Self::Refused { request, answer } | Self::Denied { request, answer, .. } if answer.wants_certificate() => {
                client_certificate_hint(&request.host)
            }
            Self::Unauthorized { request, with_credentials: true, .. } => format!(
                "the registry did not accept the credentials for {}; check user name and password in the docker configuration, and that they give access to the repository",
                request.host
            ),
            Self::Unauthorized { request, .. } | Self::Denied { request, with_credentials: false, .. } => {
                format!(
                    "no credentials for {} were found; add them to config.json in the DOCKER_CONFIG directory, or check the image's name",
                    request.host
                )
            }
            Self::Denied { request, .. } => {
                format!(
                    "the credentials for {} lack the permission; ask for pull or push access to the repository",
                    request.host
                )
            }
            Self::NameUnknown { .. } => {
                "check the repository's name; some registries want it to be made before the first push"
                    .to_owned()
            }
            Self::ManifestUnknown { .. } => "check the image's name and tag".to_owned(),
            Self::Certificate { request, source } => certificate_hint(&request.host, source),
            Self::ClientCertificate { request, .. } => client_certificate_hint(&request.host),
            Self::Proxy { wants_password: true, .. } => {
                "check user and password in HTTPS_PROXY or HTTP_PROXY: http://USER:PASSWORD@HOST:PORT".to_owned()
            }
            Self::Proxy { request, .. } => format!(
                "check HTTPS_PROXY or HTTP_PROXY; if {} is to be reached without a proxy, add it to NO_PROXY",
                request.host
            ),
            Self::UnknownHost { host, .. } => {
                format!("check the name {host} and the name servers in /etc/resolv.conf")
            }
            Self::NoPlace { places, .. } => return places.iter().find_map(|(_, error)| error.hint()),
            Self::PlainHttp { request, .. } => {
                format!("if {} is a plain HTTP registry, name it with --insecure-registry", request.host)
            }
            Self::Connect { request, .. } => {
                format!("check the name and port of {} and that it can be reached from here", request.host)
            }
            Self::DigestMismatch { .. } | Self::Truncated { .. } | Self::TooLong { .. } => {
                "the content was damaged on the way or in the registry; try again, or push the image anew"
                    .to_owned()
            }
            Self::BlobUnknown { .. } => {
                "a part of the image is gone from the registry; push the image anew".to_owned()
            }
            Self::Document { source: FormatError::Json { .. } | FormatError::NotAnObject(_), request } => format!(
                "the image is damaged in its registry, or {} is no registry but a proxy or a web server",
                request.host
            ),
            Self::Document { .. } => {
                "the image is not whole or not of a kind that can be built on; push it anew, or choose another".to_owned()
            }
            Self::NoPlatform { .. } => {
                "choose an image that has the platform, or build for one that this image has".to_owned()
            }
            Self::Layout { source, .. } => source.hint().to_owned(),
            Self::ReadArchive { source, .. } => source.hint().to_owned(),
            Self::Format(error) => return error.hint(),
            Self::CredentialHelper { name, .. } => format!(
                "see what `docker-credential-{name} list` says, or take it out of the docker configuration's credsStore and credHelpers"
            ),
            Self::DockerConfig { .. } => "mend the file, or log in to the registry again".to_owned(),
            Self::Refused { answer: Answer { status: 405, .. }, .. } => {
                "the registry does not allow this; it may be read-only, or a mirror".to_owned()
            }
            Self::Refused { answer: Answer { status: 429, .. }, .. } => {
                "the registry limits the rate of requests; wait, or log in".to_owned()
            }
            Self::Refused { answer: Answer { status: 413, .. }, .. } => {
                "a proxy before the registry refuses bodies of this size; raise its limit".to_owned()
            }
            Self::Refused { answer: Answer { status: 500.., .. }, .. } => {
                "the registry failed; try again".to_owned()
            }
            _ => return None,
        })
    }
}

fn client_certificate_hint(host: &str) -> String {
    format!("name a certificate and its key with --registry-client-cert={host}=CERTIFICATE,KEY")
}
