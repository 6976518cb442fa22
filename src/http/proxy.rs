//! Proxies that end TLS in front of the server: whose word on it is believed.

use std::net::SocketAddr;

use http::HeaderMap;
use ipnet::IpNet;

/// What a proxy says of the connection that a request came by.
const X_FORWARDED_PROTO: &str = "x-forwarded-proto";

/// The networks whose requests may say how they were protected.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Those in `networks`.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether `peer` is one of them and says that the request came over TLS. Of several values the last counts: it is the
    /// one that the nearest proxy wrote.
    pub(super) fn say_tls(&self, peer: SocketAddr, headers: &HeaderMap) -> bool {
        let address = peer.ip().to_canonical();
        if !self.0.iter().any(|network| network.contains(&address)) {
            return false;
        }
        let last = headers.get_all(X_FORWARDED_PROTO).iter().next_back().and_then(|value| value.to_str().ok());
        last.and_then(|value| value.rsplit(',').next()).is_some_and(|value| value.trim().eq_ignore_ascii_case("https"))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn says(networks: &[&str], peer: &str, values: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(X_FORWARDED_PROTO, HeaderValue::from_static(value));
        }
        let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
        TrustedProxies::new(networks).say_tls(peer.parse().unwrap(), &headers)
    }

    #[test]
    fn only_a_trusted_proxys_last_word_counts() {
        let ours = ["10.0.0.0/8", "::1/128"];
        assert!(says(&ours, "10.1.2.3:5", &["https"]));
        assert!(says(&ours, "[::1]:5", &["HTTPS"]));
        assert!(says(&ours, "[::ffff:10.1.2.3]:5", &["https"]), "an IPv4 address seen through an IPv6 socket");
        assert!(says(&ours, "10.1.2.3:5", &["http, https"]));
        assert!(!says(&ours, "10.1.2.3:5", &["https", "http"]));
        assert!(!says(&ours, "10.1.2.3:5", &["https, http"]));
        assert!(!says(&ours, "10.1.2.3:5", &[]));
        assert!(!says(&ours, "11.1.2.3:5", &["https"]));
        assert!(!says(&[], "10.1.2.3:5", &["https"]));
    }
}
