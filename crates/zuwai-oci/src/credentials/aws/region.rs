//! Regions and the domains of their partitions (botocore's `partitions.json`).

/// The domain of a region's services. An unknown region belongs to the first partition, as in the SDKs.
pub(crate) fn domain(region: &str) -> &'static str {
    let partitions = [
        ("cn-", "amazonaws.com.cn"),
        ("eusc-", "amazonaws.eu"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("us-isof-", "csp.hci.ic.gov"),
        ("us-iso-", "c2s.ic.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
    ];
    let found = partitions.iter().find(|(prefix, _)| region.starts_with(prefix));
    found.map_or("amazonaws.com", |(_, domain)| domain)
}

/// Whether a text can be a region's name, and so a part of a host's.
pub(crate) fn is_region(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=32).contains(&text.len())
        && text.bytes().all(is_letter)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_has_the_domain_of_its_partition() {
        for (region, expected) in [
            ("eu-central-1", "amazonaws.com"),
            ("us-gov-west-1", "amazonaws.com"),
            ("cn-north-1", "amazonaws.com.cn"),
            ("eusc-de-east-1", "amazonaws.eu"),
            ("us-iso-east-1", "c2s.ic.gov"),
            ("us-isob-east-1", "sc2s.sgov.gov"),
            ("us-isof-south-1", "csp.hci.ic.gov"),
            ("eu-isoe-west-1", "cloud.adc-e.uk"),
            ("mars-1", "amazonaws.com"),
        ] {
            assert_eq!(domain(region), expected, "{region}");
        }
    }

    #[test]
    fn what_is_no_label_is_no_region() {
        for (text, expected) in [
            ("us-east-1", true),
            ("x", true),
            ("", false),
            ("us.east", false),
            ("us/east", false),
            ("us@east", false),
            ("US-EAST-1", false),
            ("-us", false),
            ("us-", false),
            ("evil.example#", false),
        ] {
            assert_eq!(is_region(text), expected, "{text}");
        }
    }
}
