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
    assert_eq!(made.standard, None);
    assert_eq!(made.cerebrium, Some(expected));
}

#[test]
fn hex_is_lower_case_with_leading_zeros() {
    assert_eq!(hex(&[0, 10, 255]), "000aff");
}

#[test]
fn without_any_secret_there_is_nothing_to_sign() {
    let signing = Signing::new(run(), at(1), &[], None);
    assert!(signing.is_empty());
    let nothing = Signatures {
        standard: None,
        cerebrium: None,
    };
    assert_eq!(signing.finish(), nothing);
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
        let signature = signing.finish().standard.unwrap();
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
