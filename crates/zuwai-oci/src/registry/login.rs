//! Whether a registry knows us.

use reqwest::Method;
use reqwest::header::HeaderMap;

use crate::credentials::RegistryKey;
use crate::error::{OciError, Request};
use crate::registry::answer::Wanted;
use crate::registry::body::Body;
use crate::registry::transport::{Call, Target, api_host};
use crate::registry::{Direction, Registry};

impl Registry {
    /// Asks for the root of a registry's interface (distribution spec, "Determining Support"), which a registry that
    /// wants to know who asks gives to those it knows.
    ///
    /// # Errors
    /// When the registry cannot be reached, is none, or does not accept the credentials.
    pub async fn check_login(&self, registry: &RegistryKey) -> Result<(), OciError> {
        let request = Request { host: api_host(registry.registry()).to_owned(), action: "log in".to_owned() };
        let call = Call {
            reference: registry.example(),
            mount_from: None,
            direction: Direction::Push,
            method: Method::GET,
            target: Target::Root,
            wanted: Wanted::Root,
            headers: HeaderMap::new(),
            body: Body::Empty,
            request,
        };
        self.transport().send(&call).await.map(|_| ())
    }
}
