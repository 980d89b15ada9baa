//! The wallets of Bitcoin-family nodes: an account is a wallet of its home node, with one address.

use async_trait::async_trait;
use bitcoin_node::BitcoinApp;
use serde::Deserialize;
use serde_json::json;
use trellis::NodeHandle;
use trellis_chain::{
    OutputId, Owner, SignedTransaction, Transaction, TxId,
    bitcoin::{BitcoinRpc, RawTransaction, SignedRaw},
};
use trellis_steps::{
    StepError, StepResult,
    chain::{AccountRef, BuiltTransaction, ChainWallets, Defect},
};

/// What each transaction costs: enough for the largest that nodes relay.
const FEE: u64 = 100_000;
/// Nodes do not relay outputs that are worth less; so little is left to the fee.
const DUST: u64 = 10_000;
/// How an owner begins that is a script and no address.
const SCRIPT: &str = "script:";
/// What follows the witnesses: the lock time, in hexadecimal digits.
const LOCK_TIME_DIGITS: usize = 8;

/// Wallets of the nodes themselves.
pub(crate) struct BitcoinWallets {
    app: BitcoinApp,
}

impl BitcoinWallets {
    /// The wallets of the nodes of `app`.
    pub(crate) fn new(app: BitcoinApp) -> Self {
        Self { app }
    }

    /// The wallet of `account` at `node`, loaded, or made if it is not there.
    async fn wallet(&self, account: &AccountRef, node: &NodeHandle) -> StepResult<BitcoinRpc> {
        let name = match account {
            AccountRef::Index(index) => format!("account-{index}"),
            AccountRef::Node(node) => format!("node-{node}"),
            AccountRef::Sponsor => {
                return Err(StepError::new("nobody pays the fees of others here"));
            }
        };
        let source = self.app.source(node)?;
        Ok(source.rpc().open_wallet(&name).await?)
    }
}

#[async_trait]
impl ChainWallets for BitcoinWallets {
    async fn owner(&self, account: &AccountRef, node: &NodeHandle) -> StepResult<Owner> {
        let wallet = self.wallet(account, node).await?;
        // Signatures of this kind of address do not change the id of a transaction.
        let address: String = wallet.call("getnewaddress", json!(["", "bech32"])).await?;
        Ok(Owner::from(address))
    }

    async fn pay(
        &self,
        from: &AccountRef,
        node: &NodeHandle,
        coins: &[(OutputId, u64)],
        outputs: &[(Owner, u64)],
        _: &[(OutputId, u64)],
    ) -> StepResult<BuiltTransaction> {
        let wallet = self.wallet(from, node).await?;
        let had = sum(coins.iter().map(|(_, value)| *value))?;
        let paid = sum(outputs.iter().map(|(_, value)| *value))?;
        let change = paid.checked_add(FEE).and_then(|cost| had.checked_sub(cost));
        let change = change.ok_or_else(|| {
            StepError::new(format!(
                "{had} is too little to pay {paid} and {FEE} for it"
            ))
        })?;
        let mut made = scripts(&wallet, outputs).await?;
        if change >= DUST {
            made.push((script_of_coins(&wallet, coins).await?, change));
        }
        let spent: Vec<OutputId> = coins.iter().map(|(id, _)| id.clone()).collect();
        let signed = sign(&wallet, &unsigned(&spent, &made)?).await?;
        if !signed.complete {
            let text = format!("{} has no wallet with the keys of {from:?}", node.name());
            return Err(StepError::new(text));
        }
        let fee = if change >= DUST { FEE } else { FEE + change };
        built(&wallet, signed.hex, fee).await
    }

    async fn inscribe(
        &self,
        _: &AccountRef,
        _: &NodeHandle,
        _: &[(OutputId, u64)],
        _: Vec<u8>,
        _: &[(OutputId, u64)],
    ) -> StepResult<BuiltTransaction> {
        Err(StepError::new("nothing can be written into this chain"))
    }

    async fn defective(
        &self,
        from: &AccountRef,
        node: &NodeHandle,
        coins: &[(OutputId, u64)],
        to: &Owner,
        defect: Defect,
    ) -> StepResult<BuiltTransaction> {
        let wallet = self.wallet(from, node).await?;
        let (spent, value) = match (defect, coins.first()) {
            (Defect::UnknownInput, _) | (_, None) => {
                let nowhere = TxId::from_bytes([1; 32]);
                (OutputId::from(format!("{nowhere}:0")), DUST)
            }
            (Defect::Unbalanced, Some((id, value))) => (id.clone(), value * 2),
            (_, Some((id, value))) => (id.clone(), value.saturating_sub(FEE)),
        };
        let made = scripts(&wallet, &[(to.clone(), value)]).await?;
        let unsigned = unsigned(&[spent], &made)?;
        let mut hex = sign(&wallet, &unsigned).await?.hex;
        if defect == Defect::BadSignature {
            hex = with_another_key(&hex);
        }
        built(&wallet, hex, 0).await
    }

    fn fee_max(&self, _: usize, _: usize) -> u64 {
        FEE
    }
}

fn sum(mut values: impl Iterator<Item = u64>) -> StepResult<u64> {
    let sum = values.try_fold(0u64, u64::checked_add);
    sum.ok_or_else(|| StepError::new("the outputs are worth more than there can be"))
}

/// `validateaddress`.
#[derive(Deserialize)]
struct Validated {
    #[serde(rename = "scriptPubKey")]
    script: String,
}

/// The scripts of owners, each with what they get.
async fn scripts(node: &BitcoinRpc, outputs: &[(Owner, u64)]) -> StepResult<Vec<(String, u64)>> {
    let mut scripts = Vec::with_capacity(outputs.len());
    let mut last: Option<(&Owner, String)> = None;
    for (owner, value) in outputs {
        let script = match &last {
            Some((known, script)) if *known == owner => script.clone(),
            _ => script(node, owner).await?,
        };
        last = Some((owner, script.clone()));
        scripts.push((script, *value));
    }
    Ok(scripts)
}

async fn script(node: &BitcoinRpc, owner: &Owner) -> StepResult<String> {
    if let Some(hex) = owner.as_str().strip_prefix(SCRIPT) {
        return Ok(hex.to_owned());
    }
    let asked = node.call::<Validated>("validateaddress", json!([owner.as_str()]));
    let answered = asked.await;
    Ok(answered
        .map_err(|error| StepError::from(error).within(format!("{owner} is no address")))?
        .script)
}

/// `gettxout`.
#[derive(Deserialize)]
struct UnspentOutput {
    #[serde(rename = "scriptPubKey")]
    script: ScriptHex,
}

#[derive(Deserialize)]
struct ScriptHex {
    hex: String,
}

/// Whose the first of `coins` is: who gets the change.
async fn script_of_coins(node: &BitcoinRpc, coins: &[(OutputId, u64)]) -> StepResult<String> {
    let Some((coin, _)) = coins.first() else {
        return Err(StepError::new("a payment takes coins"));
    };
    let (txid, place) = place_of(coin)?;
    // Coins of transactions that wait count, too.
    let params = json!([txid.to_string(), place, true]);
    match node
        .call::<Option<UnspentOutput>>("gettxout", params)
        .await?
    {
        Some(output) => Ok(output.script.hex),
        None => Err(StepError::new(format!(
            "{coin} cannot be spent at {}: it is not there, or spent",
            node.name()
        ))),
    }
}

fn place_of(output: &OutputId) -> StepResult<(TxId, u32)> {
    let text = output.to_string();
    let parts = text.rsplit_once(':');
    let (txid, place) =
        parts.ok_or_else(|| StepError::new(format!("{text} is no output of this chain")))?;
    Ok((txid.parse()?, place.parse()?))
}

/// A transaction in hexadecimal digits that nobody has signed. The node's own call for it takes each address once only.
fn unsigned(spent: &[OutputId], made: &[(String, u64)]) -> StepResult<String> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    bytes.extend(count(spent.len())?);
    for output in spent {
        let (txid, place) = place_of(output)?;
        // Ids are shown in the reverse of the order in which they are sent.
        bytes.extend(txid.as_bytes().iter().rev());
        bytes.extend(place.to_le_bytes());
        bytes.push(0);
        bytes.extend(u32::MAX.to_le_bytes());
    }
    bytes.extend(count(made.len())?);
    let mut hex = digits(&bytes);
    for (script, value) in made {
        hex += &digits(&value.to_le_bytes());
        hex += &digits(&count(script.len() / 2)?);
        hex += script;
    }
    Ok(hex + &"0".repeat(LOCK_TIME_DIGITS))
}

/// A number of things, in the length that the wire gives it.
fn count(count: usize) -> StepResult<Vec<u8>> {
    if count < 0xfd {
        return Ok(vec![u8::try_from(count)?]);
    }
    let mut bytes = vec![0xfd];
    bytes.extend(u16::try_from(count)?.to_le_bytes());
    Ok(bytes)
}

fn digits(bytes: &[u8]) -> String {
    let digit = |bits: u8| char::from_digit(bits.into(), 16).unwrap_or('0');
    let digits = bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    digits.collect()
}

async fn sign(wallet: &BitcoinRpc, unsigned: &str) -> StepResult<SignedRaw> {
    let signed = wallet.call("signrawtransactionwithwallet", json!([unsigned]));
    Ok(signed.await?)
}

/// A signed transaction with another key than the owner's: the last byte of the last witness, which is the key, is another one.
fn with_another_key(hex: &str) -> String {
    let at = hex.len() - LOCK_TIME_DIGITS - 1;
    let digit = if hex.as_bytes()[at] == b'0' { "1" } else { "0" };
    format!("{}{digit}{}", &hex[..at], &hex[at + 1..])
}

async fn built(node: &BitcoinRpc, hex: String, fee: u64) -> StepResult<BuiltTransaction> {
    let decoded: RawTransaction = node.call("decoderawtransaction", json!([hex])).await?;
    Ok(BuiltTransaction {
        signed: SignedTransaction::Json(json!(hex).to_string().into()),
        effect: Transaction::from(&decoded),
        fee,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsigned_transaction_is_the_bytes_that_the_wire_has() {
        let spent = OutputId::from(format!("{}01:2", "00".repeat(31)));
        let hex = unsigned(&[spent], &[("0014ff".to_owned(), 5)]).unwrap();
        let expected = [
            "02000000",
            "01",
            "01",
            &"00".repeat(31),
            "02000000",
            "00",
            "ffffffff",
            "01",
            "0500000000000000",
            "03",
            "0014ff",
            "00000000",
        ];
        assert_eq!(hex, expected.concat());
        assert_eq!(count(300).unwrap(), [0xfd, 44, 1]);
    }

    #[test]
    fn another_key_is_another_one_and_nothing_else() {
        assert_eq!(with_another_key("02ab00000000"), "02a000000000");
        assert_eq!(with_another_key("02a000000000"), "02a100000000");
    }
}
