//! Model: what nodes say, in the form that is the same for all wires.

use super::{
    shapes::{BlockHeader, RawTransaction, Script, TxInput, TxOutput},
    wallet_calls::output_id,
};
use crate::{
    id::{OutputId, Owner},
    model::{Header, Output, Transaction},
};

/// How owners begin that are no addresses: what follows is their script in hexadecimal digits.
pub(super) const SCRIPT_PREFIX: &str = "script:";

impl From<&BlockHeader> for Header {
    fn from(header: &BlockHeader) -> Self {
        Self {
            height: Some(header.height),
            time_ms: header.time.checked_mul(1000),
            ..Self::new(header.hash, header.previousblockhash)
        }
    }
}

impl From<&RawTransaction> for Transaction {
    /// Inputs and outputs in the extension blocks of Litecoin are not shown by nodes, and so are
    /// left out.
    fn from(raw: &RawTransaction) -> Self {
        let places = raw.vout.iter().zip(0..);
        let outputs = places.filter_map(|(output, place)| {
            let id = output_id(raw.txid, output.n.unwrap_or(place));
            shown(output).map(|(owner, value)| Output {
                operation: 0,
                id: Some(id),
                owner,
                value,
            })
        });
        Self {
            id: raw.txid,
            inputs: raw.vin.iter().filter_map(spent).collect(),
            outputs: outputs.collect(),
        }
    }
}

fn shown(output: &TxOutput) -> Option<(Owner, u64)> {
    let script = output.script.as_ref()?;
    Some((owner(script), output.value?.units()))
}

/// The address where there is one, as for all that wallets make today.
fn owner(script: &Script) -> Owner {
    match script.address() {
        Some(address) => address.into(),
        None => format!("{SCRIPT_PREFIX}{}", script.hex).into(),
    }
}

/// A coinbase spends nothing.
fn spent(input: &TxInput) -> Option<OutputId> {
    Some(output_id(input.txid?, input.vout?))
}

/// What a node calls an owner when it scans for what they have.
pub(super) fn descriptor(owner: &Owner) -> String {
    match owner.as_str().strip_prefix(SCRIPT_PREFIX) {
        Some(hex) => format!("raw({hex})"),
        None => format!("addr({owner})"),
    }
}
