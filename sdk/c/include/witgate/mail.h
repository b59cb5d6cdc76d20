/*
 * Mail, handed in by the host over SMTP. The manifest names the server (`egress = ["smtp://{smtp_host}:{smtp_port}"]`); the
 * password stays with the host.
 *
 *     wg_mail mail = wg_mail_new(WG_STR("gateway@example.com"), WG_STR("A key has expired"));
 *     wg_mail_to(&mail, WG_STR("ops@example.com"));
 *     wg_mail_text(&mail, text);
 *     if (!wg_mail_send(&mail, host, 587, WG_MAIL_STARTTLS, error)) return false;
 */
#ifndef WITGATE_MAIL_H
#define WITGATE_MAIL_H

#include "witgate.h"

/* How the connection is encrypted: given up unless the server agrees to STARTTLS; from the first byte; not at all. */
#define WG_MAIL_STARTTLS WIT_MAIL_ENCRYPTION_STARTTLS
#define WG_MAIL_TLS WIT_MAIL_ENCRYPTION_TLS
#define WG_MAIL_IN_THE_CLEAR WIT_MAIL_ENCRYPTION_NONE

typedef struct wg_mail {
    wit_mail_message_t wit;
    wit_mail_option_tuple2_string_borrow_secret_t login;
    uint32_t timeout_ms;
} wg_mail;

/* A message from this address about this: one line. */
wg_mail wg_mail_new(wg_str sender, wg_str subject);
/* Adds somebody who gets it. */
void wg_mail_to(wg_mail *mail, wg_str address);
/* The text, for readers that show no HTML. */
void wg_mail_text(wg_mail *mail, wg_str text);
/* The same as HTML. */
void wg_mail_html(wg_mail *mail, wg_str html);
/* Logs in with a name and the secret setting that is its password. */
bool wg_mail_login(wg_mail *mail, wg_str user, const char *secret, wg_error *error);
/* Hands it in, and waits until the server has taken it. */
bool wg_mail_send(const wg_mail *mail, wg_str host, uint16_t port, wit_mail_encryption_t encryption, wg_error *error);

#endif
