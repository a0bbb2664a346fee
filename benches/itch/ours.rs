//! Every field of every message of TotalView-ITCH 5.0 as hopline reads it, added up.

use hopline::feed::itch::{self, Message};

use crate::sum::{Sum, add};

/// Adds a message as hopline reads it.
// Always, as itch5's handler is by its own walk: two subjects call it, and neither may pay a call that the other does not.
#[inline(always)]
pub(crate) fn add_message(sum: &mut Sum, bytes: &[u8]) {
    let Ok(message) = itch::decode(bytes) else {
        return;
    };
    match message {
        Message::SystemEvent(m) => {
            add!(
                sum,
                [
                    m.head.locate.get(),
                    m.head.tracking.get(),
                    m.head.timestamp.get()
                ],
                [m.event]
            )
        }
        Message::StockDirectory(m) => {
            add!(
                sum,
                [
                    m.head.locate.get(),
                    m.head.tracking.get(),
                    m.head.timestamp.get(),
                    u64::from_be_bytes(m.stock.0),
                    m.round_lot_size.get(),
                    m.etp_leverage.get()
                ],
                [
                    m.market_category,
                    m.financial_status,
                    m.round_lots_only,
                    m.issue_classification,
                    u16::from_be_bytes(m.issue_sub_type),
                    m.authenticity,
                    m.short_sale_threshold,
                    m.ipo_flag,
                    m.luld_tier,
                    m.etp_flag,
                    m.inverse
                ]
            )
        }
        Message::TradingAction(m) => {
            add!(
                sum,
                [
                    m.head.locate.get(),
                    m.head.tracking.get(),
                    m.head.timestamp.get(),
                    u64::from_be_bytes(m.stock.0),
                    m.reserved
                ],
                [m.state, u32::from_be_bytes(m.reason)]
            )
        }
        Message::RegSho(m) => {
            add!(
                sum,
                [
                    m.head.locate.get(),
                    m.head.tracking.get(),
                    m.head.timestamp.get(),
                    u64::from_be_bytes(m.stock.0)
                ],
                [m.action]
            )
        }
        Message::ParticipantPosition(m) => {
            add!(
                sum,
                [
                    m.head.locate.get(),
                    m.head.tracking.get(),
                    m.head.timestamp.get(),
                    u32::from_be_bytes(m.mpid),
                    u64::from_be_bytes(m.stock.0)
                ],
                [m.primary, m.mode, m.state]
            )
        }
        Message::MwcbLevels(m) => {
            add!(
                sum,
                [
                    m.head.locate.get(),
                    m.head.tracking.get(),
                    m.head.timestamp.get(),
                    m.level_1.units(),
                    m.level_2.units(),
                    m.level_3.units()
                ],
                []
            )
        }
        Message::MwcbStatus(m) => {
            add!(
                sum,
                [
                    m.head.locate.get(),
                    m.head.tracking.get(),
                    m.head.timestamp.get()
                ],
                [m.breached]
            )
        }
        Message::QuotingPeriod(m) => {
            add!(
                sum,
                [
                    m.head.locate.get(),
                    m.head.tracking.get(),
                    m.head.timestamp.get(),
                    u64::from_be_bytes(m.stock.0),
                    m.release_s.get(),
                    m.price.units()
                ],
                [m.qualifier]
            )
        }
        Message::AuctionCollar(m) => {
            add!(
                sum,
                [
                    m.head.locate.get(),
                    m.head.tracking.get(),
                    m.head.timestamp.get(),
                    u64::from_be_bytes(m.stock.0),
                    m.reference.units(),
                    m.upper.units(),
                    m.lower.units(),
                    m.extension.get()
                ],
                []
            )
        }
        Message::OperationalHalt(m) => {
            add!(
                sum,
                [
                    m.head.locate.get(),
                    m.head.tracking.get(),
                    m.head.timestamp.get(),
                    u64::from_be_bytes(m.stock.0)
                ],
                [m.market, m.action]
            )
        }
        Message::AddOrder(m) => {
            add!(
                sum,
                [
                    m.head.locate.get(),
                    m.head.tracking.get(),
                    m.head.timestamp.get(),
                    m.reference.get(),
                    m.shares.get(),
                    u64::from_be_bytes(m.stock.0),
                    m.price.units()
                ],
                [m.side]
            )
        }
        Message::AddOrderMpid(m) => {
            add!(
                sum,
                [
                    m.add.head.locate.get(),
                    m.add.head.tracking.get(),
                    m.add.head.timestamp.get(),
                    m.add.reference.get(),
                    m.add.shares.get(),
                    u64::from_be_bytes(m.add.stock.0),
                    m.add.price.units(),
                    u32::from_be_bytes(m.attribution)
                ],
                [m.add.side]
            )
        }
        Message::OrderExecuted(m) => {
            add!(
                sum,
                [
                    m.head.locate.get(),
                    m.head.tracking.get(),
                    m.head.timestamp.get(),
                    m.reference.get(),
                    m.shares.get(),
                    m.match_number.get()
                ],
                []
            )
        }
        Message::OrderExecutedPrice(m) => {
            add!(
                sum,
                [
                    m.head.locate.get(),
                    m.head.tracking.get(),
                    m.head.timestamp.get(),
                    m.reference.get(),
                    m.shares.get(),
                    m.match_number.get(),
                    m.price.units()
                ],
                [m.printable]
            )
        }
        Message::OrderCancel(m) => {
            add!(
                sum,
                [
                    m.head.locate.get(),
                    m.head.tracking.get(),
                    m.head.timestamp.get(),
                    m.reference.get(),
                    m.shares.get()
                ],
                []
            )
        }
        Message::OrderDelete(m) => {
            add!(
                sum,
                [
                    m.head.locate.get(),
                    m.head.tracking.get(),
                    m.head.timestamp.get(),
                    m.reference.get()
                ],
                []
            )
        }
        Message::OrderReplace(m) => {
            add!(
                sum,
                [
                    m.head.locate.get(),
                    m.head.tracking.get(),
                    m.head.timestamp.get(),
                    m.reference.get(),
                    m.new_reference.get(),
                    m.shares.get(),
                    m.price.units()
                ],
                []
            )
        }
        Message::Trade(m) => {
            add!(
                sum,
                [
                    m.head.locate.get(),
                    m.head.tracking.get(),
                    m.head.timestamp.get(),
                    m.reference.get(),
                    m.shares.get(),
                    u64::from_be_bytes(m.stock.0),
                    m.price.units(),
                    m.match_number.get()
                ],
                [m.side]
            )
        }
        Message::CrossTrade(m) => {
            add!(
                sum,
                [
                    m.head.locate.get(),
                    m.head.tracking.get(),
                    m.head.timestamp.get(),
                    m.shares.get(),
                    u64::from_be_bytes(m.stock.0),
                    m.price.units(),
                    m.match_number.get()
                ],
                [m.cross_type]
            )
        }
        Message::BrokenTrade(m) => {
            add!(
                sum,
                [
                    m.head.locate.get(),
                    m.head.tracking.get(),
                    m.head.timestamp.get(),
                    m.match_number.get()
                ],
                []
            )
        }
        Message::Imbalance(m) => {
            add!(
                sum,
                [
                    m.head.locate.get(),
                    m.head.tracking.get(),
                    m.head.timestamp.get(),
                    m.paired.get(),
                    m.imbalance.get(),
                    u64::from_be_bytes(m.stock.0),
                    m.far.units(),
                    m.near.units(),
                    m.reference.units()
                ],
                [m.direction, m.cross_type, m.variation]
            )
        }
        Message::RetailInterest(m) => {
            add!(
                sum,
                [
                    m.head.locate.get(),
                    m.head.tracking.get(),
                    m.head.timestamp.get(),
                    u64::from_be_bytes(m.stock.0)
                ],
                [m.interest]
            )
        }
        Message::DirectListing(m) => {
            add!(
                sum,
                [
                    m.head.locate.get(),
                    m.head.tracking.get(),
                    m.head.timestamp.get(),
                    u64::from_be_bytes(m.stock.0),
                    m.minimum.units(),
                    m.maximum.units(),
                    m.near.units(),
                    m.near_time.get(),
                    m.lower.units(),
                    m.upper.units()
                ],
                [m.open_eligibility]
            )
        }
    }
}
