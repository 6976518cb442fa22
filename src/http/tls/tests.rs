//! The TLS stream against rustls's own client, over pipes that deliver and take in odd pieces.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream as ClientStream;

use super::{Material, Tls, TlsStream, info, names_an_authority};
use crate::clock::{Clock as _, SystemClock};

const PATIENCE: Duration = Duration::from_secs(20);

struct Pair {
    client: ClientStream<DuplexStream>,
    server: TlsStream<DuplexStream>,
}

/// A client and a server that have shaken hands over a pipe that holds `pipe` bytes.
async fn pair(pipe: usize, version: &'static rustls::SupportedProtocolVersion) -> Pair {
    pair_with(pipe, version, Arc::unwrap_or_clone(super::provider::provider())).await
}

/// The same, the client with cryptography of its own.
async fn pair_with(pipe: usize, version: &'static rustls::SupportedProtocolVersion, client: CryptoProvider) -> Pair {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let tls = Tls::new(Material { chain: vec![made.cert.der().clone()], key }, true).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(client))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (near, far) = duplex(pipe);
    let name = ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let (client, server) =
        timeout(PATIENCE, async { tokio::join!(connector.connect(name, near), tls.accept(far)) }).await.unwrap();
    Pair { client: client.unwrap(), server: server.unwrap() }
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| u8::try_from((i * 31 + i / 251) % 256).unwrap()).collect()
}

#[tokio::test]
async fn bytes_arrive_as_they_were_sent_whatever_the_pieces() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        for (pipe, piece) in [(64 * 1024, 1 << 20), (1000, 70_001), (17, 333), (1 << 20, 5), (300_000, 16 * 1024)] {
            let length = if piece < 1000 { 40_000 } else { 700_000 };
            let Pair { mut client, mut server } = pair(pipe, version).await;
            let sent = bytes(length);
            let echo = async move {
                let mut got = Vec::new();
                server.read_to_end(&mut got).await.unwrap();
                for piece in got.chunks(piece) {
                    server.write_all(piece).await.unwrap();
                }
                server.shutdown().await.unwrap();
                got.len()
            };
            let talk = async {
                for piece in sent.chunks(piece) {
                    client.write_all(piece).await.unwrap();
                }
                client.shutdown().await.unwrap();
                let mut got = Vec::new();
                client.read_to_end(&mut got).await.unwrap();
                got
            };
            let (echoed, got) = timeout(PATIENCE, async { tokio::join!(echo, talk) }).await.unwrap();
            assert_eq!((echoed, got == sent), (length, true), "pipe {pipe}, pieces of {piece}");
        }
    }
}

#[tokio::test]
async fn slices_are_sent_in_their_order() {
    let Pair { mut client, mut server } = pair(1 << 20, &rustls::version::TLS13).await;
    let all = bytes(150_000);
    let cuts = [0, 3, 3, 900, 17_284, 34_000, 34_001, 120_000, all.len()];
    let slices: Vec<_> = cuts.windows(2).map(|cut| std::io::IoSlice::new(&all[cut[0]..cut[1]])).collect();
    let mut sent = 0;
    while sent < all.len() {
        let mut rest = slices.clone();
        let mut rest = &mut rest[..];
        std::io::IoSlice::advance_slices(&mut rest, sent);
        let now = server.write_vectored(rest).await.unwrap();
        assert!(now > 0);
        sent += now;
    }
    server.flush().await.unwrap();
    let mut got = vec![0; all.len()];
    client.read_exact(&mut got).await.unwrap();
    assert!(got == all);
}

#[tokio::test]
async fn an_end_without_goodbye_is_an_error() {
    let Pair { client, mut server } = pair(1 << 16, &rustls::version::TLS13).await;
    drop(client);
    let error = server.read(&mut [0; 10]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn after_a_goodbye_the_server_may_still_speak() {
    let Pair { mut client, mut server } = pair(1 << 16, &rustls::version::TLS13).await;
    client.shutdown().await.unwrap();
    assert_eq!(server.read(&mut [0; 10]).await.unwrap(), 0);
    assert_eq!(server.read(&mut [0; 10]).await.unwrap(), 0);
    server.write_all(b"heard").await.unwrap();
    server.shutdown().await.unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"heard");
}

#[tokio::test]
async fn keys_can_change_midway() {
    let Pair { mut client, mut server } = pair(1 << 16, &rustls::version::TLS13).await;
    for round in 0..3_u8 {
        client.get_mut().1.refresh_traffic_keys().unwrap();
        client.write_all(&[round; 1000]).await.unwrap();
        client.flush().await.unwrap();
        let mut got = [0; 1000];
        server.read_exact(&mut got).await.unwrap();
        assert_eq!(got, [round; 1000]);
        server.write_all(&got).await.unwrap();
        server.flush().await.unwrap();
        client.read_exact(&mut got).await.unwrap();
        assert_eq!(got, [round; 1000]);
    }
}

#[tokio::test]
async fn altered_records_are_refused_and_the_peer_is_told() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let tls = Tls::new(Material { chain: vec![made.cert.der().clone()], key }, true).unwrap();
    let (mut near, far) = duplex(1 << 16);
    let accepting = tokio::spawn(async move { tls.accept(far).await.map(drop) });
    near.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let error = timeout(PATIENCE, accepting).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    let mut alert = Vec::new();
    near.read_to_end(&mut alert).await.unwrap();
    assert_eq!(alert.first(), Some(&21), "a TLS alert: {alert:?}");
}

#[tokio::test]
async fn idle_connections_hold_no_buffers() {
    let Pair { mut client, mut server } = pair(1 << 16, &rustls::version::TLS13).await;
    client.write_all(b"hello").await.unwrap();
    client.flush().await.unwrap();
    server.read_exact(&mut [0; 5]).await.unwrap();
    server.write_all(b"hello").await.unwrap();
    server.flush().await.unwrap();
    assert!(timeout(Duration::from_millis(50), server.read(&mut [0; 5])).await.is_err());
    assert_eq!(server.held(), 0);
    assert_eq!(info(server.connection()).unwrap().version, "TLSv1.3");
    assert_eq!(server.connection().protocol_version(), Some(ProtocolVersion::TLSv1_3));
}

#[tokio::test]
async fn an_authoritys_certificate_in_a_servers_place_is_told_of() {
    for (is_ca, marked) in [
        (rcgen::IsCa::NoCa, false),
        (rcgen::IsCa::ExplicitNoCa, false),
        (rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained), true),
    ] {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.is_ca = is_ca;
        let certificate = params.self_signed(&key).unwrap();
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let material = Material { chain: vec![certificate.der().clone()], key: der };
        assert_eq!(material.is_marked_as_authority(SystemClock.now()), marked);

        // As a client says it, who trusts that very certificate.
        let tls = Tls::new(material, true).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(super::provider::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (near, far) = duplex(1 << 16);
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let (client, _) =
            tokio::join!(connector.connect(ServerName::try_from("localhost").unwrap(), near), tls.accept(far));
        assert_eq!(client.err().is_some_and(|error| names_an_authority(&error)), marked);
    }
}

#[tokio::test]
async fn aes_128_is_taken_where_the_client_has_it() {
    use rustls::CipherSuite;

    let theirs = rustls::crypto::aws_lc_rs::default_provider();
    assert_eq!(theirs.cipher_suites[0].suite(), CipherSuite::TLS13_AES_256_GCM_SHA384);
    let mut strong = theirs.clone();
    strong.cipher_suites.retain(|suite| suite.suite().as_str().is_some_and(|name| name.contains("AES_256")));
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        for (provider, suite) in [(&theirs, "AES_128_GCM_SHA256"), (&strong, "AES_256_GCM_SHA384")] {
            let Pair { server, .. } = pair_with(1 << 16, version, provider.clone()).await;
            let agreed = info(server.connection()).unwrap().cipher_suite;
            assert!(agreed.ends_with(suite), "{agreed}");
        }
    }
}
