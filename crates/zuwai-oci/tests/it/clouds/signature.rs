//! Signature Version 4 as a server checks it: written from its description alone, over what came on the wire.

use ring::{digest, hmac};

use crate::stub::Asked;

/// Whether a request to `/` without a query has the signature of a key for a region and a service.
pub fn is_signed(asked: &Asked, id: &str, key: &str, region: &str, service: &str) -> bool {
    let header = asked.header("authorization").unwrap_or_default();
    let Some(rest) = header.strip_prefix("AWS4-HMAC-SHA256 ") else { return false };
    let part = |name: &str| {
        let found = rest.split(", ").find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_default().to_owned()
    };
    let time = asked.header("x-amz-date").unwrap_or_default();
    let Some(day) = time.get(..8) else { return false };
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let names = part("SignedHeaders");
    let all_signed = ["host", "x-amz-date"].iter().all(|name| names.split(';').any(|signed| signed == *name));
    let mut canonical = format!("{}\n/\n\n", asked.method);
    for name in names.split(';') {
        canonical += &format!("{name}:{}\n", asked.header(name).unwrap_or_default());
    }
    canonical += &format!("\n{names}\n{}", hash(&asked.body));
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hash(canonical.as_bytes()));
    let day_key = mac(format!("AWS4{key}").as_bytes(), day);
    let signing = mac(&mac(&mac(&day_key, region), service), "aws4_request");
    asked.target == "/"
        && all_signed
        && part("Credential") == format!("{id}/{scope}")
        && part("Signature") == hexadecimal(&mac(&signing, &text))
}

/// The name of the key that a request is signed with.
pub fn key_of(asked: &Asked) -> String {
    let header = asked.header("authorization").unwrap_or_default();
    let rest = header.split_once("Credential=").map_or("", |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default().to_owned()
}

fn hash(bytes: &[u8]) -> String {
    hexadecimal(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
