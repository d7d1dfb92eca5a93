/*
 * payment_state.h
 *		The states of a payment and the legal transitions between them.
 */
#ifndef HF_PAYMENT_STATE_H
#define HF_PAYMENT_STATE_H

/* As stored in _holdfast.payment.state. */
#define HF_CREATED			  'n'
#define HF_AUTHORIZING		  'g'
#define HF_AUTHORIZED		  'a'
#define HF_CAPTURING		  'p'
#define HF_CAPTURED			  'c'
#define HF_PARTIALLY_REFUNDED 'q'
#define HF_REFUNDED			  'r'
#define HF_REFUNDING		  'b'
#define HF_DECLINED			  'd'
#define HF_VOIDED			  'v'
#define HF_UNKNOWN			  'u'

typedef enum HfInput
{
	/* requests */
	HF_AUTHORIZE,
	HF_CAPTURE,
	HF_VOID,
	HF_REFUND,
	/* what a provider says */
	HF_SAYS_AUTHORIZED,
	HF_SAYS_CAPTURED,
	HF_SAYS_DECLINED,
	HF_SAYS_REFUNDED,
	HF_SAYS_REFUND_DECLINED,
	HF_SAYS_UNKNOWN
} HfInput;

extern const char *hf_state_name(char state);
extern const char *hf_input_name(HfInput input);
extern bool hf_state_is_live(char state);
extern bool hf_state_takes(char state, HfInput input);
extern bool hf_state_may_become(char state, HfInput input, char next);

#endif
