//! Which hosts are Amazon's registries.

use crate::credentials::aws::is_region;

/// The one public registry, and the region that its tokens come from.
const PUBLIC: [&str; 2] = ["public.ecr.aws", "ecr-public.aws.com"];
const PUBLIC_REGION: &str = "us-east-1";

/// The domains of private registries (those of amazon-ecr-credential-helper), and whether they are dual-stack, with the
/// domain of the service's interface then.
const DOMAINS: [(&str, Option<&str>); 9] = [
    ("amazonaws.com", None),
    ("amazonaws.com.cn", None),
    ("amazonaws.eu", None),
    ("sc2s.sgov.gov", None),
    ("c2s.ic.gov", None),
    ("cloud.adc-e.uk", None),
    ("csp.hci.ic.gov", None),
    ("on.aws", Some("api.aws")),
    ("on.amazonwebservices.com.cn", Some("api.amazonwebservices.com.cn")),
];

/// A registry of Amazon's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EcrHost {
    /// The region whose service gives tokens for it.
    pub(super) region: String,
    /// Whether it is the public registry.
    pub(super) is_public: bool,
    /// Whether it is reached through end points that follow FIPS.
    is_fips: bool,
    domain: &'static str,
    dual_stack: Option<&'static str>,
}

impl EcrHost {
    /// Takes a registry's host apart; none if it is not one of Amazon's, to the letter.
    pub(super) fn parse(registry: &str) -> Option<Self> {
        if PUBLIC.contains(&registry) {
            let region = PUBLIC_REGION.to_owned();
            return Some(Self {
                region,
                is_public: true,
                is_fips: false,
                domain: "amazonaws.com",
                dual_stack: None,
            });
        }
        let (account, rest) = registry.split_once('.')?;
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (service, rest) = ["dkr.ecr-fips.", "dkr.ecr.", "dkr-ecr-fips.", "dkr-ecr."]
            .iter()
            .find_map(|service| Some((service, rest.strip_prefix(service)?)))?;
        let (region, domain) = rest.split_once('.')?;
        let (domain, dual_stack) = DOMAINS.into_iter().find(|(known, _)| *known == domain)?;
        // `dkr-ecr` is how the dual-stack registries are written, and only they.
        (is_region(region) && service.starts_with("dkr-") == dual_stack.is_some()).then(|| Self {
            region: region.to_owned(),
            is_public: false,
            is_fips: service.contains("-fips"),
            domain,
            dual_stack,
        })
    }

    /// The address of the service that gives tokens for it (the end points of ECR in botocore's rules).
    pub(super) fn service_address(&self, fips: bool) -> String {
        let Self { region, domain, .. } = self;
        let fips = fips || self.is_fips;
        match (self.is_public, self.dual_stack, fips) {
            (true, _, _) => format!("https://api.ecr-public.{region}.{domain}/"),
            (false, Some(domain), false) => format!("https://ecr.{region}.{domain}/"),
            (false, Some(domain), true) => format!("https://ecr-fips.{region}.{domain}/"),
            (false, None, false) => format!("https://api.ecr.{region}.{domain}/"),
            (false, None, true) if *domain == "amazonaws.com" => {
                format!("https://ecr-fips.{region}.{domain}/")
            }
            (false, None, true) => format!("https://api.ecr-fips.{region}.{domain}/"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amazons_registries_are_known_with_their_services() {
        for (registry, service) in [
            (
                "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
                "https://api.ecr.eu-central-1.amazonaws.com/",
            ),
            (
                "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
                "https://ecr-fips.us-gov-west-1.amazonaws.com/",
            ),
            (
                "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
                "https://api.ecr.cn-north-1.amazonaws.com.cn/",
            ),
            (
                "123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu",
                "https://api.ecr.eusc-de-east-1.amazonaws.eu/",
            ),
            ("123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", "https://api.ecr.us-iso-east-1.c2s.ic.gov/"),
            ("123456789012.dkr-ecr.us-east-1.on.aws", "https://ecr.us-east-1.api.aws/"),
            ("123456789012.dkr-ecr-fips.us-east-1.on.aws", "https://ecr-fips.us-east-1.api.aws/"),
            (
                "123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
                "https://ecr.cn-north-1.api.amazonwebservices.com.cn/",
            ),
            ("public.ecr.aws", "https://api.ecr-public.us-east-1.amazonaws.com/"),
        ] {
            assert_eq!(EcrHost::parse(registry).unwrap().service_address(false), service, "{registry}");
        }
        let host = EcrHost::parse("123456789012.dkr.ecr.us-east-1.amazonaws.com").unwrap();
        assert_eq!(host.service_address(true), "https://ecr-fips.us-east-1.amazonaws.com/");
        assert_eq!(host.region, "us-east-1");
    }

    #[test]
    fn lookalikes_are_not_amazons() {
        for registry in [
            "123456789012.dkr.ecr.eu-central-1.amazonaws.com.evil.example",
            "123456789012.dkr.ecr.eu-central-1.evil-amazonaws.com",
            "123456789012.dkr.ecr.eu-central-1.evil.amazonaws.com",
            "123456789012.dkr.ecr.amazonaws.com",
            "123456789012.dkr.ecr..amazonaws.com",
            "123456789012.dkr.ecr.eu-central-1.amazonaws.com:443",
            "123456789012.dkr.ecr.eu-central-1.amazonaws.com:5000",
            "123456789012.dkr.ecr.eu-central-1.amazonaws.com.",
            "x.123456789012.dkr.ecr.eu-central-1.amazonaws.com",
            "12345678901.dkr.ecr.eu-central-1.amazonaws.com",
            "1234567890123.dkr.ecr.eu-central-1.amazonaws.com",
            "12345678901x.dkr.ecr.eu-central-1.amazonaws.com",
            "123456789012.dkr-ecr.eu-central-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-central-1.on.aws",
            "123456789012.dkr.ecrx.eu-central-1.amazonaws.com",
            "123456789012.dkrxecr.eu-central-1.amazonaws.com",
            "public.ecr.aws.evil.example",
            "xpublic.ecr.aws",
            "x.public.ecr.aws",
            "ecr.aws",
            "",
        ] {
            assert_eq!(EcrHost::parse(registry), None, "{registry}");
        }
    }
}
