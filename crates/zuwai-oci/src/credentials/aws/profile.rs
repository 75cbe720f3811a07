//! The shared configuration and credentials files (AWS SDK reference guide, "Shared config and credentials files").

mod file;

use std::path::PathBuf;

use crate::credentials::aws::sts::{Role, WebIdentity, assume_role, assume_with_web_identity};
use crate::credentials::aws::{Asking, AwsSettings, Keys};
use crate::secret::Secret;

use file::{Profile, Profiles};

/// Most roles that are taken on one from the other.
const ROLE_LIMIT: usize = 8;
/// Ways to credentials that are not gone, by the key that asks for them.
const UNSUPPORTED: [(&str, &str); 4] = [
    ("sso_session", "single sign-on"),
    ("sso_start_url", "single sign-on"),
    ("credential_process", "credential_process"),
    ("login_session", "a console login"),
];

/// How a profile's keys are come by.
#[derive(Debug)]
pub(super) struct Plan {
    start: Start,
    /// The roles that are taken on from there, the first one first.
    roles: Vec<Role>,
    region: Option<String>,
}

/// Where it starts.
#[derive(Debug)]
enum Start {
    Keys(Keys),
    WebIdentity(WebIdentity),
    Environment,
    Container,
    Instance,
}

/// What the chosen profile says; none where it says nothing of credentials.
pub(super) fn plan(settings: &AwsSettings) -> Result<Option<Plan>, String> {
    let profiles = Profiles::read(settings.config_file.as_ref(), settings.credentials_file.as_ref())?;
    let name = settings.profile.as_deref().unwrap_or("default");
    let Some(mut profile) = profiles.get(name) else {
        return match settings.profile {
            Some(_) => Err(format!("there is no profile {name:?} (AWS_PROFILE) in {profiles}")),
            None => Ok(None),
        };
    };
    let region = profile.get("region").map(str::to_owned);
    let mut roles = Vec::new();
    let mut from = name;
    loop {
        let told = |problem: String| format!("profile {from:?}: {problem}");
        let start = start(profile).map_err(told)?;
        let role = profile.get("role_arn").filter(|_| !matches!(start, Some(Start::WebIdentity(_))));
        if role.is_some() && profile.get("mfa_serial").is_some() {
            return Err(told(
                "a role that wants a one-time password (mfa_serial) cannot be taken on".to_owned(),
            ));
        }
        roles.extend(role.map(|arn| role_of(profile, arn)));
        let next = profile.get("source_profile").filter(|_| role.is_some());
        // A profile that is its own source has the keys for its role.
        let next = next.filter(|next| *next != from || start.is_none());
        match (next, start) {
            (None, Some(start)) => {
                roles.reverse();
                return Ok(Some(Plan { start, roles, region }));
            }
            (None, None) if role.is_some() => {
                let problem = "role_arn needs source_profile, credential_source or web_identity_token_file";
                return Err(told(problem.to_owned()));
            }
            (None, None) if from == name => return Ok(None),
            (None, None) => return Err(told("it is a source_profile without credentials".to_owned())),
            (Some(_), _) if roles.len() >= ROLE_LIMIT => {
                return Err(told(format!("more than {ROLE_LIMIT} roles from source to source")));
            }
            (Some(next), _) => {
                profile = profiles.get(next).ok_or_else(|| told(format!("there is no profile {next:?}")))?;
                from = next;
            }
        }
    }
}

/// The files of tokens that any profile names; none where the profiles cannot be read.
pub(super) fn token_files(settings: &AwsSettings) -> Vec<PathBuf> {
    let profiles = Profiles::read(settings.config_file.as_ref(), settings.credentials_file.as_ref());
    let profiles = profiles.unwrap_or_default();
    profiles.all().filter_map(|profile| profile.get("web_identity_token_file")).map(PathBuf::from).collect()
}

/// Comes by the keys.
pub(super) async fn carry_out(
    settings: &AwsSettings,
    asking: Asking<'_>,
    plan: Plan,
) -> Result<Keys, String> {
    let region = settings.region.as_deref().or(plan.region.as_deref()).unwrap_or(asking.region);
    let missing = |source: &str| format!("credential_source is {source}, which has no credentials here");
    let mut keys = match plan.start {
        Start::Keys(keys) => keys,
        Start::WebIdentity(identity) => assume_with_web_identity(settings, asking, region, &identity).await?,
        Start::Environment => settings.environment_keys()?.ok_or_else(|| missing("Environment"))?,
        Start::Container => match &settings.container {
            Some(container) => container.keys(asking).await?,
            None => return Err(missing("EcsContainer")),
        },
        Start::Instance => {
            settings.instance_keys(asking).await?.ok_or_else(|| missing("Ec2InstanceMetadata"))?
        }
    };
    for role in &plan.roles {
        keys = assume_role(settings, asking, region, &keys, role).await?;
    }
    Ok(keys)
}

/// Where a profile's own credentials start.
fn start(profile: &Profile) -> Result<Option<Start>, String> {
    if let Some(id) = profile.get("aws_access_key_id") {
        let secret =
            profile.get("aws_secret_access_key").ok_or("aws_access_key_id without its secret key")?;
        let session = profile.get("aws_session_token").map(Secret::new);
        return Ok(Some(Start::Keys(Keys { id: id.to_owned(), secret: Secret::new(secret), session })));
    }
    if let Some(source) = profile.get("credential_source") {
        return match source {
            "Environment" => Ok(Some(Start::Environment)),
            "EcsContainer" => Ok(Some(Start::Container)),
            "Ec2InstanceMetadata" => Ok(Some(Start::Instance)),
            other => Err(format!("unknown credential_source {other:?}")),
        };
    }
    if let Some(file) = profile.get("web_identity_token_file") {
        return Ok(Some(Start::WebIdentity(WebIdentity {
            token_file: PathBuf::from(file),
            role_arn: profile.get("role_arn").map(str::to_owned),
            session_name: profile.get("role_session_name").map(str::to_owned),
        })));
    }
    match UNSUPPORTED.iter().find(|(key, _)| profile.get(key).is_some()) {
        Some((_, way)) => Err(format!("{way} is not supported; give keys, a role or a web identity")),
        None => Ok(None),
    }
}

fn role_of(profile: &Profile, arn: &str) -> Role {
    let text = |key: &str| profile.get(key).map(str::to_owned);
    Role {
        arn: arn.to_owned(),
        session_name: text("role_session_name"),
        external_id: text("external_id"),
        duration_seconds: text("duration_seconds"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::credentials::cloud::SettingsFile;

    /// The plan of a profile in a configuration file, as a short text.
    fn told(config: &str, profile: Option<&str>) -> Result<Option<String>, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        fs::write(&path, config).unwrap();
        let settings = AwsSettings {
            config_file: Some(SettingsFile::read(path)),
            profile: profile.map(str::to_owned),
            ..AwsSettings::default()
        };
        Ok(plan(&settings)?.map(|plan| {
            let start = match plan.start {
                Start::Keys(keys) => keys.id,
                Start::WebIdentity(identity) => identity.token_file.display().to_string(),
                other => format!("{other:?}"),
            };
            plan.roles.iter().fold(start, |text, role| format!("{text} > {}", role.arn))
        }))
    }

    #[test]
    fn a_profile_says_how_keys_are_come_by() {
        let keys = "aws_access_key_id = A\naws_secret_access_key = hunter2\n";
        let loops = "[profile a]\nrole_arn=r\nsource_profile=b\n[profile b]\nrole_arn=r\nsource_profile=a\n";
        for (config, profile, expected) in [
            (format!("[default]\n{keys}"), None, Ok(Some("A"))),
            (format!("[default]\n{keys}"), Some("x"), Err("no profile \"x\"")),
            ("[default]\nregion = x\n".to_owned(), None, Ok(None)),
            (String::new(), None, Ok(None)),
            (format!("[profile x]\nrole_arn=r1\nsource_profile=default\n[default]\n{keys}"), Some("x"), Ok(Some("A > r1"))),
            (
                format!("[profile x]\nrole_arn=r2\nsource_profile=y\n[profile y]\nrole_arn=r1\nsource_profile=z\n[profile z]\n{keys}"),
                Some("x"),
                Ok(Some("A > r1 > r2")),
            ),
            (format!("[profile x]\nrole_arn=r1\nsource_profile=x\n{keys}"), Some("x"), Ok(Some("A > r1"))),
            ("[default]\nrole_arn=r\ncredential_source=Ec2InstanceMetadata".to_owned(), None, Ok(Some("Instance > r"))),
            ("[default]\nrole_arn=r\ncredential_source=EcsContainer".to_owned(), None, Ok(Some("Container > r"))),
            ("[default]\nrole_arn=r\ncredential_source=Environment".to_owned(), None, Ok(Some("Environment > r"))),
            ("[default]\nrole_arn=r\ncredential_source=X".to_owned(), None, Err("unknown credential_source")),
            ("[default]\nrole_arn=r\nweb_identity_token_file=/t".to_owned(), None, Ok(Some("/t"))),
            (
                "[profile x]\nrole_arn=r2\nsource_profile=default\n[default]\nrole_arn=r\nweb_identity_token_file=/t".to_owned(),
                Some("x"),
                Ok(Some("/t > r2")),
            ),
            ("[default]\nrole_arn=r".to_owned(), None, Err("role_arn needs")),
            ("[default]\nrole_arn=r\nsource_profile=y".to_owned(), None, Err("no profile \"y\"")),
            ("[default]\nrole_arn=r\nsource_profile=y\n[profile y]\n".to_owned(), None, Err("without credentials")),
            (loops.to_owned(), Some("a"), Err("more than 8 roles")),
            (format!("[default]\nrole_arn=r\nmfa_serial=m\nsource_profile=default\n{keys}"), None, Err("mfa_serial")),
            ("[default]\ncredential_process = /bin/x\n".to_owned(), None, Err("credential_process is not supported")),
            ("[default]\nsso_session = x\n".to_owned(), None, Err("single sign-on")),
            ("[default]\naws_access_key_id = A\n".to_owned(), None, Err("without its secret")),
        ] {
            match (told(&config, profile), expected) {
                (Ok(plan), Ok(expected)) => assert_eq!(plan.as_deref(), expected, "{config}"),
                (Err(problem), Err(expected)) => {
                    assert!(problem.contains(expected) && !problem.contains("hunter2"), "{config}: {problem}");
                }
                (plan, _) => panic!("{config}: {plan:?}"),
            }
        }
    }
}
