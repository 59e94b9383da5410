//! Signatures against the vectors of Standard Webhooks, and against tampering.

use proptest::prelude::*;

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn run() -> RunId {
    "0199f00c-5e2a-7c3b-8d4e-5f60718293a4".parse().unwrap()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

#[test]
fn the_vector_of_the_standard_is_made_and_verified() {
    let secret = read_secret(SECRET).unwrap();
    let body = br#"{"test": 2432232314}"#;
    let mut context = begin(&secret, &"msg_p5jXN8AQM9LWM0D4loKWxJek", at(1_614_265_330));
    context.update(body);
    let signature = format!("v1,{}", BASE64_STANDARD.encode(context.sign()));
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    let signed = Signed {
        id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp: "1614265330",
        signature: &signature,
    };
    assert_eq!(signed.verify(&secret, body, at(1_614_265_330)), Ok(()));
}

#[test]
fn the_callers_secret_signs_run_id_and_timestamp_and_body_in_hex() {
    let secret = Secret::new(*b"It's a Secret to Everybody");
    let mut signing = Signing::new(run(), at(1_700_000_000), &[], Some(&secret));
    signing.update(b"Hello, World!");
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal());
    let message = b"0199f00c-5e2a-7c3b-8d4e-5f60718293a4.1700000000.Hello, World!";
    let expected = format!("v1,{}", hex(hmac::sign(&key, message).as_ref()));
    let made = signing.finish();
    assert!(made.standard.is_empty());
    assert_eq!(made.cerebrium.as_deref(), Some(expected.as_str()));
    let signed = Signed {
        id: "0199f00c-5e2a-7c3b-8d4e-5f60718293a4",
        timestamp: "1700000000",
        signature: &expected,
    };
    let now = at(1_700_000_000);
    assert_eq!(signed.verify_hex(&secret, b"Hello, World!", now), Ok(()));
    let wrong = Err(Unverified::Signature);
    assert_eq!(signed.verify_hex(&secret, b"Hello, World?", now), wrong);
    for text in ["v1,", "v1,+f", "v1,é", "v1,0", "00"] {
        let signed = Signed {
            signature: text,
            ..signed
        };
        assert_eq!(signed.verify_hex(&secret, b"", now), wrong, "{text}");
    }
}

#[test]
fn hex_is_lower_case_with_leading_zeros() {
    assert_eq!(hex(&[0, 10, 255]), "000aff");
}

#[test]
fn without_any_secret_there_is_nothing_to_sign() {
    let signing = Signing::new(run(), at(1), &[], None);
    assert!(signing.is_empty());
    assert_eq!(signing.finish(), Signatures::default());
}

#[test]
fn a_secret_is_whsec_and_24_to_64_bytes() {
    for wrong in [
        "",
        "whsec_",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjU",
        "whsec_!!!!",
        "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    ] {
        assert!(read_secret(wrong).is_err(), "{wrong}");
    }
    let long = format!("whsec_{}", BASE64_STANDARD.encode([7; 65]));
    assert!(read_secret(&long).is_err());
    assert_eq!(read_secret(SECRET).unwrap().reveal().len(), 24);
}

/// RFC 8032 §7.1, test 3: seed, public key, message, signature.
const SEED: &str = "xaqN9D+fg3vtt0QvMdy3sWbThTUHbwlLhc46LgtEWPc=";
const PUBLIC: &str = "/FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU=";

#[test]
fn the_vector_of_ed25519_is_made() {
    let key = SigningKey::read(&format!("whsk_{SEED}")).unwrap();
    assert_eq!(key.public().to_string(), format!("whpk_{PUBLIC}"));
    let signature = key.sign(&[0xaf, 0x82]);
    let expected = "62 91 d6 57 de ec 24 02 48 27 e6 9c 3a be 01 a3 0c e5 48 a2 84 74 3a 44 5e 36 80 d7 db 5a c3 ac \
                    18 ff 9b 53 8d 16 f2 90 ae 67 f7 60 98 4d c6 59 4a 7c 15 e9 71 6e d2 8d c0 27 be ce ea 1e c4 0a";
    let bytes = BASE64_STANDARD.decode(signature.strip_prefix("v1a,").unwrap());
    assert_eq!(hex(&bytes.unwrap()), expected.replace(' ', ""));
}

#[test]
fn a_key_is_a_seed_alone_or_with_its_own_public_key_and_is_never_shown() {
    let decode = |text| BASE64_STANDARD.decode(text).unwrap();
    let both = |public: &[u8]| {
        let bytes = [decode(SEED), public.to_vec()].concat();
        SigningKey::read(&format!("whsk_{}", BASE64_STANDARD.encode(bytes)))
    };
    let key = both(&decode(PUBLIC)).unwrap();
    assert_eq!(key.public().to_string(), format!("whpk_{PUBLIC}"));
    let shown = format!("{key:?}");
    assert!(!shown.contains(&SEED[..8]), "{shown}");
    assert_eq!(both(&[7; 32]).unwrap_err(), InvalidKey::Halves);
    for wrong in [
        "",
        "whsk_",
        "whsk_c2hvcnQ=",
        SEED,
        "whsk_!",
        &format!("whsec_{SEED}"),
    ] {
        assert_eq!(
            SigningKey::read(wrong).unwrap_err(),
            InvalidKey::Form,
            "{wrong}"
        );
    }
    for wrong in ["", PUBLIC, "whpk_c2hvcnQ=", &format!("whsk_{PUBLIC}")] {
        assert_eq!(PublicKey::read(wrong), Err(InvalidPublicKey), "{wrong}");
    }
}

#[test]
fn a_receiver_trusts_what_any_of_its_keys_verifies_and_nothing_else() {
    let secret = read_secret(SECRET).unwrap();
    let key = SigningKey::read(&format!("whsk_{SEED}")).unwrap();
    let now = at(1_700_000_000);
    let mut signing = Signing::new(run(), now, std::slice::from_ref(&secret), Some(&secret));
    signing.update(b"body");
    let made = signing.finish();
    let message = format!("{}body", message_start(run(), now));
    let line = |name: &'static str, value: &str| {
        (http::HeaderName::from_static(name), value.parse().unwrap())
    };
    let headers = http::HeaderMap::from_iter([
        line("webhook-id", &webhook_id(run())),
        line("x-request-id", &run().to_string()),
        line("webhook-timestamp", "1700000000"),
        line("x-cerebrium-webhook-timestamp", "1700000000"),
        line("x-cerebrium-webhook-signature", &made.cerebrium.unwrap()),
        line(
            "webhook-signature",
            &[&*made.standard[0], &key.sign(message.as_bytes())].join(" "),
        ),
    ]);
    let none = Checks::default();
    let by_secret = Checks {
        secrets: vec![Secret::new(*b"old"), secret.clone()],
        ..none.clone()
    };
    let by_key = Checks {
        public_keys: vec![key.public()],
        ..none.clone()
    };
    let by_caller = Checks {
        webhook_secret: Some(secret),
        ..none.clone()
    };
    for (checks, kind) in [
        (&by_secret, "v1"),
        (&by_key, "v1a"),
        (&by_caller, "cerebrium"),
    ] {
        assert!(!checks.is_empty());
        assert_eq!(
            checks.verify(&headers, b"body", now),
            Verdict::Verified(kind)
        );
        let changed = checks.verify(&headers, b"bodi", now);
        assert_eq!(changed, Verdict::Wrong(Unverified::Signature));
        let late = checks.verify(&headers, b"body", at(1_700_000_301));
        assert_eq!(late, Verdict::Wrong(Unverified::Timestamp));
        let unsigned = checks.verify(&http::HeaderMap::new(), b"body", now);
        assert_eq!(unsigned, Verdict::Unsigned);
    }
    assert!(none.is_empty());
    assert_eq!(none.verify(&headers, b"body", now), Verdict::Unchecked);
}

proptest! {
    #[test]
    fn any_body_in_any_pieces_is_verified_by_each_secret_and_no_other(
        body: Vec<u8>,
        cut in 1_usize..50,
        keys in proptest::collection::vec(any::<[u8; 24]>(), 1..4),
        seconds in 1_000_u64..10_000_000_000,
    ) {
        let secrets: Vec<Secret> = keys.iter().map(|key| Secret::new(*key)).collect();
        let mut signing = Signing::new(run(), at(seconds), &secrets, None);
        body.chunks(cut).for_each(|piece| signing.update(piece));
        let signature = signing.finish().standard.join(" ");
        let (id, timestamp) = (webhook_id(run()), seconds.to_string());
        let signed = Signed { id: &id, timestamp: &timestamp, signature: &signature };
        for secret in &secrets {
            prop_assert_eq!(signed.verify(secret, &body, at(seconds + 300)), Ok(()));
            prop_assert_eq!(signed.verify(secret, &body, at(seconds + 301)), Err(Unverified::Timestamp));
            prop_assert_eq!(signed.verify(secret, &body, at(seconds - 301)), Err(Unverified::Timestamp));
            let longer = [body.as_slice(), b"x"].concat();
            prop_assert_eq!(signed.verify(secret, &longer, at(seconds)), Err(Unverified::Signature));
        }
        let stranger = Secret::new(*b"another secret of no use");
        prop_assert_eq!(signed.verify(&stranger, &body, at(seconds)), Err(Unverified::Signature));
    }
}
