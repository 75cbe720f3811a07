//! Which hosts are Azure's registries, and of which cloud.

/// A cloud of Azure's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AzureCloud {
    /// The public one, and Germany's, which went up in it.
    Public,
    /// China's, run by 21Vianet.
    China,
    /// That of the US government.
    Government,
}

impl AzureCloud {
    /// The cloud of a registry: one label before one of the domains, to the letter; none for any other host. A token
    /// must not go to one that only looks so.
    pub(super) fn of(registry: &str) -> Option<Self> {
        let (label, domain) = registry.split_once('.')?;
        let cloud = match domain {
            "azurecr.io" | "azurecr.de" => Self::Public,
            "azurecr.cn" => Self::China,
            "azurecr.us" => Self::Government,
            _ => return None,
        };
        // A registry's name may be followed by a hash (domain name labels).
        let is_label =
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        is_label.then_some(cloud)
    }

    /// Where Entra ID of the cloud is.
    pub(super) fn authority(self) -> &'static str {
        match self {
            Self::Public => "https://login.microsoftonline.com",
            Self::China => "https://login.partner.microsoftonline.cn",
            Self::Government => "https://login.microsoftonline.us",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn azures_registries_are_told_from_lookalikes() {
        for (registry, expected) in [
            ("team.azurecr.io", Some(AzureCloud::Public)),
            ("team-a1b2c3.azurecr.io", Some(AzureCloud::Public)),
            ("team.azurecr.de", Some(AzureCloud::Public)),
            ("team.azurecr.cn", Some(AzureCloud::China)),
            ("team.azurecr.us", Some(AzureCloud::Government)),
            ("team.azurecr.io.evil.example", None),
            ("team.azurecr.io:443", None),
            ("team.azurecr.io.", None),
            ("team.evilazurecr.io", None),
            ("teamazurecr.io", None),
            ("azurecr.io", None),
            (".azurecr.io", None),
            ("team.eastus.azurecr.io", None),
            ("evil.example.azurecr.io", None),
            ("team.azurecr.com", None),
            ("team_x.azurecr.io", None),
            ("mcr.microsoft.com", None),
            ("", None),
        ] {
            assert_eq!(AzureCloud::of(registry), expected, "{registry}");
        }
    }
}
