//! Proxies that end TLS in front of the server: whose word on it is believed.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

/// What a proxy says of the connection that a request came by.
const X_FORWARDED_PROTO: &str = "x-forwarded-proto";
/// For whom it sent the request on: each proxy adds the address that it saw.
const X_FORWARDED_FOR: &str = "x-forwarded-for";

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
        if !self.trusts(peer.ip()) {
            return false;
        }
        let last = headers.get_all(X_FORWARDED_PROTO).iter().next_back().and_then(|value| value.to_str().ok());
        last.and_then(|value| value.rsplit(',').next()).is_some_and(|value| value.trim().eq_ignore_ascii_case("https"))
    }

    /// Whose request it is: the last address that a trusted proxy tells of and that is none of a trusted proxy itself, else
    /// the peer's. What stands before it was written by whoever that is.
    pub(super) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.ip().to_canonical();
        if !self.trusts(client) {
            return client;
        }
        let told = headers.get_all(X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let told: Vec<&str> = told.flat_map(|value| value.split(',')).map(str::trim).collect();
        for address in told.into_iter().rev() {
            let Some(address) = address_of(address) else { break };
            if !self.trusts(client) {
                break;
            }
            client = address.to_canonical();
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The address in an entry, which some proxies write with the client's port: `192.0.2.7:4711`, `[2001:db8::1]:4711`.
fn address_of(entry: &str) -> Option<IpAddr> {
    let with_port = || entry.parse().ok().map(|address: SocketAddr| address.ip());
    let in_brackets = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    entry.parse().ok().or_else(with_port).or_else(in_brackets)
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
    fn the_client_is_whom_trusted_proxies_tell_of() {
        let client = |networks: &[&str], peer: &str, values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(X_FORWARDED_FOR, HeaderValue::from_static(value));
            }
            let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
            TrustedProxies::new(networks).client(peer.parse().unwrap(), &headers).to_string()
        };
        let ours = ["10.0.0.0/8"];
        assert_eq!(client(&ours, "10.1.2.3:5", &["192.0.2.7"]), "192.0.2.7");
        assert_eq!(
            client(&ours, "10.1.2.3:5", &["6.6.6.6, 192.0.2.7", "10.9.9.9"]),
            "192.0.2.7",
            "the first is invented"
        );
        assert_eq!(client(&ours, "10.1.2.3:5", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(client(&ours, "10.1.2.3:5", &["192.0.2.7:4711, 10.9.9.9:80"]), "192.0.2.7");
        assert_eq!(client(&ours, "10.1.2.3:5", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(client(&ours, "10.1.2.3:5", &["[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(client(&ours, "10.1.2.3:5", &["unknown"]), "10.1.2.3");
        assert_eq!(client(&ours, "10.1.2.3:5", &[]), "10.1.2.3");
        assert_eq!(client(&ours, "192.0.2.9:5", &["192.0.2.7"]), "192.0.2.9", "nobody else is believed");
        assert_eq!(client(&[], "[::ffff:192.0.2.9]:5", &["192.0.2.7"]), "192.0.2.9");
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
