//! The two sums of the bench `itch`: every field of every message of TotalView-ITCH 5.0, by hopline and by
//! the crate itch5. Numbers, prices and symbols go into one word, for both the same. Codes go into another:
//! hopline gives the byte and leaves its meaning to the reader, itch5 gives an enum, of which the sum takes
//! whether it is a known one, which is the least that reading it can mean.

use std::ops::ControlFlow;

use hopline::feed::itch::{self, Message};
use itch5::messages as rival;
use itch5::{MessageHandler, Parser};

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) messages: u64,
    pub(crate) numbers: u64,
    pub(crate) codes: u64,
}

macro_rules! add {
    ($sum:expr, [$($number:expr),* $(,)?], [$($code:expr),* $(,)?] $(,)?) => {{
        $sum.messages += 1;
        $sum.numbers = $sum.numbers$(.wrapping_add($number as u64))*;
        $sum.codes = $sum.codes$(.wrapping_add($code as u64))*;
    }};
}

/// Adds a message as hopline reads it.
#[inline]
pub(crate) fn ours(sum: &mut Sum, bytes: &[u8]) {
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

/// Adds messages, each behind its length, as itch5 reads them.
pub(crate) fn theirs(sum: &mut Sum, framed: &[u8]) {
    let all = Parser::new(framed).parse_stream(sum);
    assert!(all.is_ok());
}

macro_rules! unknown {
    ($code:expr, $type:ident) => {
        matches!($code, rival::$type::Unknown { .. })
    };
}

/// Four bytes of a participant's name.
fn word(bytes: &[u8]) -> u32 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

impl MessageHandler for Sum {
    #[inline]
    fn on_system_event(&mut self, m: &rival::SystemEvent) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64()
            ],
            [unknown!(m.event_code(), SystemEventCode)]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_stock_directory(&mut self, m: &rival::StockDirectory) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.stock().to_u64(),
                m.round_lot_size(),
                m.etp_leverage_factor()
            ],
            [
                unknown!(m.market_category(), MarketCategory),
                unknown!(m.financial_status_indicator(), FinancialStatusIndicator),
                unknown!(m.round_lots_only(), RoundLotsOnly),
                unknown!(m.issue_classification(), IssueClassificationCode),
                unknown!(m.issue_sub_type(), IssueSubTypeCode),
                unknown!(m.authenticity(), Authenticity),
                unknown!(
                    m.short_sale_threshold_indicator(),
                    ShortSaleThresholdIndicator
                ),
                unknown!(m.ipo_flag(), IpoFlag),
                unknown!(m.luld_reference_price_tier(), LuldReferencePriceTier),
                unknown!(m.etp_flag(), EtpFlag),
                unknown!(m.inverse_indicator(), InverseIndicator)
            ]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_stock_trading_action(&mut self, m: &rival::StockTradingAction) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.stock().to_u64(),
                m.reserved()
            ],
            [
                unknown!(m.trading_state(), TradingState),
                unknown!(m.reason(), TradingActionReason)
            ]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_reg_sho_restriction(&mut self, m: &rival::RegSHORestriction) -> ControlFlow<()> {
        add!(
            self,
            [
                m.locate_code(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.stock().to_u64()
            ],
            [unknown!(m.reg_sho_action(), RegShoAction)]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_market_participant_position(
        &mut self,
        m: &rival::MarketParticipantPosition,
    ) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                word(m.mpid()),
                m.stock().to_u64()
            ],
            [
                unknown!(m.primary_market_maker(), PrimaryMarketMaker),
                unknown!(m.market_maker_mode(), MarketMakerMode),
                unknown!(m.market_participant_state(), MarketParticipantState)
            ]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_mwcb_decline_level(&mut self, m: &rival::MWCBDeclineLevel) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.level_1().into_u64(),
                m.level_2().into_u64(),
                m.level_3().into_u64()
            ],
            []
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_mwcb_status(&mut self, m: &rival::MWCBStatus) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64()
            ],
            [unknown!(m.breached_level(), BreachedLevel)]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_quoting_period_update(&mut self, m: &rival::QuotingPeriodUpdate) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.stock().to_u64(),
                m.ipo_quotation_release_time(),
                m.ipo_price().into_u32()
            ],
            [unknown!(
                m.ipo_quotation_release_qualifier(),
                IpoQuotationReleaseQualifier
            )]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_luld_auction_collar(&mut self, m: &rival::LULDAuctionCollar) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.stock().to_u64(),
                m.auction_collar_reference_price().into_u32(),
                m.upper_auction_collar_price().into_u32(),
                m.lower_auction_collar_price().into_u32(),
                m.auction_collar_extension().into_u32()
            ],
            []
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_operational_halt(&mut self, m: &rival::OperationalHalt) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.stock().to_u64()
            ],
            [
                unknown!(m.market_code(), MarketCode),
                unknown!(m.operational_halt_action(), OperationalHaltAction)
            ]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_add_order_no_mpid_attribution(
        &mut self,
        m: &rival::AddOrderNoMPIDAttribution,
    ) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.order_reference_number(),
                m.shares(),
                m.stock().to_u64(),
                m.price().into_u32()
            ],
            [unknown!(m.buy_sell_indicator(), BuySellIndicator)]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_add_order_with_mpid_attribution(
        &mut self,
        m: &rival::AddOrderWithMPIDAttribution,
    ) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.order_reference_number(),
                m.shares(),
                m.stock().to_u64(),
                m.price().into_u32(),
                word(m.attribution())
            ],
            [unknown!(m.buy_sell_indicator(), BuySellIndicator)]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_order_executed(&mut self, m: &rival::OrderExecuted) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.order_reference_number(),
                m.executed_shares(),
                m.match_number()
            ],
            []
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_order_executed_with_price(
        &mut self,
        m: &rival::OrderExecutedWithPrice,
    ) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.order_reference_number(),
                m.executed_shares(),
                m.match_number(),
                m.execution_price().into_u32()
            ],
            [unknown!(m.printable(), Printable)]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_order_cancel(&mut self, m: &rival::OrderCancel) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.order_reference_number(),
                m.cancelled_shares()
            ],
            []
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_order_delete(&mut self, m: &rival::OrderDelete) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.order_reference_number()
            ],
            []
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_order_replace(&mut self, m: &rival::OrderReplace) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.original_order_reference_number(),
                m.new_order_reference_number(),
                m.shares(),
                m.price().into_u32()
            ],
            []
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_trade(&mut self, m: &rival::Trade) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.order_reference_number(),
                m.shares(),
                m.stock().to_u64(),
                m.price().into_u32(),
                m.match_number()
            ],
            [unknown!(m.buy_sell_indicator(), BuySellIndicator)]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_cross_trade(&mut self, m: &rival::CrossTrade) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.shares(),
                m.stock().to_u64(),
                m.cross_price().into_u32(),
                m.match_number()
            ],
            [unknown!(m.cross_type(), CrossType)]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_broken_trade(&mut self, m: &rival::BrokenTrade) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.match_number()
            ],
            []
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_net_order_imbalance_indicator(
        &mut self,
        m: &rival::NetOrderImbalanceIndicator,
    ) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.paired_shares(),
                m.imbalance_shares(),
                m.stock().to_u64(),
                m.far_price().into_u32(),
                m.near_price().into_u32(),
                m.current_reference_price().into_u32()
            ],
            [
                unknown!(m.imbalance_direction(), ImbalanceDirection),
                unknown!(m.cross_type(), CrossType),
                unknown!(m.price_variation_indicator(), PriceVariationIndicator)
            ]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_retail_price_improvement_indicator(
        &mut self,
        m: &rival::RetailPriceImprovementIndicator,
    ) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.stock().to_u64()
            ],
            [unknown!(m.interest_flag(), InterestFlag)]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_direct_listing_with_capital_raise_price_discovery(
        &mut self,
        m: &rival::DirectListingwithCapitalRaisePriceDiscovery,
    ) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.stock().to_u64(),
                m.minimum_allowable_price().into_u32(),
                m.maximum_allowable_price().into_u32(),
                m.near_execution_price().into_u32(),
                m.near_execution_time(),
                m.lower_price_range_collar().into_u32(),
                m.upper_price_range_collar().into_u32()
            ],
            [unknown!(m.open_eligibility_status(), OpenEligibilityStatus)]
        );
        ControlFlow::Continue(())
    }
}
