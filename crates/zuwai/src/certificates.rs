//! The certificate authorities that come with the program: Mozilla's, for images that have none of their own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Characters of base64 in a line of PEM (RFC 7468).
const PEM_LINE: usize = 64;

/// All of them as PEM.
pub fn bundled_pem() -> String {
    let mut text = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(certificate);
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(PEM_LINE));
            text.push_str(line);
            text.push('\n');
            rest = after;
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundle_is_pem() {
        let pem = bundled_pem();
        let count = webpki_root_certs::TLS_SERVER_ROOT_CERTS.len();
        assert_eq!(pem.matches("-----BEGIN CERTIFICATE-----\n").count(), count);
        assert!(pem.lines().all(|line| line.len() <= PEM_LINE));
        let first = pem.lines().skip(1).take_while(|line| !line.starts_with('-')).collect::<String>();
        assert_eq!(STANDARD.decode(first).unwrap(), webpki_root_certs::TLS_SERVER_ROOT_CERTS[0].as_ref());
    }
}
