//! The clouds' credentials: from the variables that their own tools know to the settings of the sources. Files of
//! settings are read here, before anything is unpacked; files of tokens, which are renewed, when they are needed.

use std::path::PathBuf;

use zuwai_oci::Secret;
use zuwai_oci::credentials::aws::{AwsSettings, ContainerEndpoint, WebIdentity};
use zuwai_oci::credentials::azure::{AzureSettings, IdentityEndpoint};
use zuwai_oci::credentials::cloud::SettingsFile;
use zuwai_oci::credentials::google::GoogleSettings;

use crate::environment::Environment;

/// The metadata server of all three clouds.
const METADATA: &str = "169.254.169.254";
/// Amazon's metadata server by IPv6.
const AWS_METADATA_6: &str = "http://[fd00:ec2::254]";

/// Amazon's variables (AWS SDK reference guide, "Environment variables").
pub fn aws(environment: &Environment) -> AwsSettings {
    let text = |name: &str| environment.non_empty(name).map(str::to_owned);
    let file = |variable: &str, name: &str| {
        let given = text(variable).map(PathBuf::from);
        given.or_else(|| Some(environment.home()?.join(".aws").join(name))).map(SettingsFile::read)
    };
    let endpoint =
        |service: &str| text(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| text("AWS_ENDPOINT_URL"));
    AwsSettings {
        access_key_id: text("AWS_ACCESS_KEY_ID"),
        secret_access_key: secret(environment, "AWS_SECRET_ACCESS_KEY"),
        session_token: secret(environment, "AWS_SESSION_TOKEN"),
        web_identity: text("AWS_WEB_IDENTITY_TOKEN_FILE").map(|file| WebIdentity {
            token_file: PathBuf::from(file),
            role_arn: text("AWS_ROLE_ARN"),
            session_name: text("AWS_ROLE_SESSION_NAME"),
        }),
        config_file: file("AWS_CONFIG_FILE", "config"),
        credentials_file: file("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
        profile: text("AWS_PROFILE"),
        region: text("AWS_REGION").or_else(|| text("AWS_DEFAULT_REGION")),
        container: container(environment),
        metadata: aws_metadata(environment),
        fips: is_true(environment, "AWS_USE_FIPS_ENDPOINT"),
        sts_endpoint: endpoint("STS"),
        ecr_endpoint: endpoint("ECR"),
        ecr_public_endpoint: endpoint("ECR_PUBLIC"),
    }
}

/// Google's variables (Application Default Credentials).
pub fn google(environment: &Environment) -> GoogleSettings {
    let text = |name: &str| environment.non_empty(name).map(str::to_owned);
    let gcloud = text("CLOUDSDK_CONFIG").map(PathBuf::from);
    let gcloud = gcloud.or_else(|| Some(environment.home()?.join(".config/gcloud")));
    let metadata = text("GCE_METADATA_HOST").unwrap_or_else(|| METADATA.to_owned());
    GoogleSettings {
        credentials: text("GOOGLE_APPLICATION_CREDENTIALS").map(SettingsFile::read),
        well_known: gcloud
            .map(|folder| SettingsFile::read(folder.join("application_default_credentials.json"))),
        metadata_host: (!is_true(environment, "NO_GCE_CHECK")).then_some(metadata),
        trusted_hosts: Vec::new(),
        aws: aws(environment),
    }
}

/// Azure's variables (those of its identity libraries).
pub fn azure(environment: &Environment) -> AzureSettings {
    let text = |name: &str| environment.non_empty(name).map(str::to_owned);
    let instance = || {
        let address =
            text("AZURE_POD_IDENTITY_AUTHORITY_HOST").unwrap_or_else(|| format!("http://{METADATA}"));
        IdentityEndpoint::Instance { address }
    };
    let identity = match (text("IDENTITY_ENDPOINT"), secret(environment, "IDENTITY_HEADER")) {
        (Some(address), Some(header)) => IdentityEndpoint::AppService { address, header },
        _ => instance(),
    };
    AzureSettings {
        client_id: text("AZURE_CLIENT_ID"),
        tenant_id: text("AZURE_TENANT_ID"),
        client_secret: secret(environment, "AZURE_CLIENT_SECRET"),
        client_certificate: text("AZURE_CLIENT_CERTIFICATE_PATH").map(PathBuf::from),
        federated_token_file: text("AZURE_FEDERATED_TOKEN_FILE").map(PathBuf::from),
        authority_host: text("AZURE_AUTHORITY_HOST"),
        identity: Some(identity),
        exchange: None,
    }
}

/// The end point of Amazon's containers, if one is named.
fn container(environment: &Environment) -> Option<ContainerEndpoint> {
    let text = |name: &str| environment.non_empty(name).map(str::to_owned);
    let endpoint = ContainerEndpoint {
        relative: text("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        full: text("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        token: secret(environment, "AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        token_file: text("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(PathBuf::from),
    };
    (endpoint.relative.is_some() || endpoint.full.is_some()).then_some(endpoint)
}

/// Where the metadata of Amazon's instances are asked for, if they may be.
fn aws_metadata(environment: &Environment) -> Option<String> {
    if is_true(environment, "AWS_EC2_METADATA_DISABLED") {
        return None;
    }
    let mode = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE").unwrap_or_default();
    let usual = match mode.eq_ignore_ascii_case("ipv6") {
        true => AWS_METADATA_6.to_owned(),
        false => format!("http://{METADATA}"),
    };
    Some(environment.non_empty("AWS_EC2_METADATA_SERVICE_ENDPOINT").map_or(usual, str::to_owned))
}

fn secret(environment: &Environment, name: &str) -> Option<Secret> {
    environment.non_empty(name).map(Secret::new)
}

fn is_true(environment: &Environment, name: &str) -> bool {
    environment.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_empty_environment_knows_the_metadata_servers_alone() {
        let none = environment(&[]);
        let aws = aws(&none);
        assert_eq!(aws.metadata.as_deref(), Some("http://169.254.169.254"));
        assert!(aws.config_file.is_none() && aws.container.is_none() && aws.web_identity.is_none());
        assert_eq!(google(&none).metadata_host.as_deref(), Some("169.254.169.254"));
        assert!(matches!(azure(&none).identity, Some(IdentityEndpoint::Instance { .. })));
    }

    #[test]
    fn amazons_variables_are_known() {
        let settings = aws(&environment(&[
            ("HOME", "/home/me"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "hunter2"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/etc/keys"),
            ("AWS_DEFAULT_REGION", "b"),
            ("AWS_REGION", "a"),
            ("AWS_ENDPOINT_URL", "http://all"),
            ("AWS_ENDPOINT_URL_STS", "http://sts"),
            ("AWS_EC2_METADATA_DISABLED", "True"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"),
            ("AWS_PROFILE", ""),
        ]));
        assert_eq!(settings.config_file.as_ref().unwrap().path(), PathBuf::from("/home/me/.aws/config"));
        assert_eq!(settings.credentials_file.as_ref().unwrap().path(), PathBuf::from("/etc/keys"));
        assert_eq!(settings.region.as_deref(), Some("a"));
        assert_eq!(settings.sts_endpoint.as_deref(), Some("http://sts"));
        assert_eq!(settings.ecr_endpoint.as_deref(), Some("http://all"));
        assert!(settings.metadata.is_none() && settings.profile.is_none() && settings.container.is_some());
        assert!(settings.web_identity.as_ref().unwrap().role_arn.is_none());
        assert!(!format!("{settings:?}").contains("hunter2"));
        let six = environment(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6")]);
        assert_eq!(aws_metadata(&six).as_deref(), Some("http://[fd00:ec2::254]"));
    }

    #[test]
    fn googles_and_azures_variables_are_known() {
        let google = google(&environment(&[
            ("HOME", "/home/me"),
            ("GOOGLE_APPLICATION_CREDENTIALS", "/key.json"),
            ("NO_GCE_CHECK", "true"),
        ]));
        assert_eq!(google.credentials.unwrap().path(), PathBuf::from("/key.json"));
        let well_known = "/home/me/.config/gcloud/application_default_credentials.json";
        assert_eq!(google.well_known.unwrap().path(), PathBuf::from(well_known));
        assert!(google.metadata_host.is_none());

        let azure = azure(&environment(&[
            ("AZURE_CLIENT_ID", "id"),
            ("AZURE_CLIENT_SECRET", "hunter2"),
            ("IDENTITY_ENDPOINT", "http://localhost:42356/msi/token"),
            ("IDENTITY_HEADER", "hunter2"),
        ]));
        assert!(matches!(azure.identity, Some(IdentityEndpoint::AppService { .. })));
        assert!(azure.client_secret.is_some() && !format!("{azure:?}").contains("hunter2"));
    }
}
