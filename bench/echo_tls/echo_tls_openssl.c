// TLS echo on bare epoll and OpenSSL's own socket BIO, as one writes it who knows both. What the others are held to.

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#include "../support/papers.h"

static SSL_CTX* context;

struct connection {
  SSL* ssl;
  int fd;
};

static void die(const char* what) {
  perror(what);
  exit(1);
}

static void watch(int epoll, int fd, struct connection* who) {
  struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = who}};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl");
}

static int listen_on(unsigned short* port) {
  const int one = 1;
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
  setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);  // accepted sockets inherit it
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(*port), .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof address;
  if (bind(listener, (struct sockaddr*)&address, size) != 0 || listen(listener, 4096) != 0) die("listen");
  getsockname(listener, (struct sockaddr*)&address, &size);
  *port = ntohs(address.sin_port);
  return listener;
}

static struct connection* open_connection(int fd) {
  struct connection* c = malloc(sizeof *c);
  c->fd = fd;
  c->ssl = SSL_new(context);
  SSL_set_fd(c->ssl, fd);
  SSL_set_accept_state(c->ssl);
  return c;
}

static void close_connection(struct connection* c) {
  SSL_free(c->ssl);
  close(c->fd);
  free(c);
}

// False when the connection is of no more use. SSL_read shakes hands, too.
static int echo(struct connection* c, char* buffer, int size) {
  for (;;) {
    const int n = SSL_read(c->ssl, buffer, size);
    if (n <= 0) {
      const int why = SSL_get_error(c->ssl, n);
      if (why != SSL_ERROR_WANT_READ) ERR_clear_error();
      return why == SSL_ERROR_WANT_READ;
    }
    // A client that does not take its answers is dropped: here, where a real server would have to keep them.
    if (SSL_write(c->ssl, buffer, n) != n) return 0;
    if (!SSL_has_pending(c->ssl)) return 1;
  }
}

static void* serve(void* of_listener) {
  const int listener = *(int*)of_listener;
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  watch(epoll, listener, NULL);
  char buffer[16 * 1024];
  for (;;) {
    struct epoll_event events[128];
    const int count = epoll_wait(epoll, events, 128, -1);
    for (int i = 0; i < count; ++i) {
      struct connection* c = events[i].data.ptr;
      if (!c) {
        const int accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted >= 0) watch(epoll, accepted, open_connection(accepted));
        continue;
      }
      if (!echo(c, buffer, sizeof buffer)) close_connection(c);
    }
  }
  return NULL;
}

int main(int argc, char** argv) {
  if (argc < 2) return fprintf(stderr, "usage: %s PORT [THREADS]\n", argv[0]), 2;
  unsigned short port = (unsigned short)atoi(argv[1]);
  const int count = argc > 2 ? atoi(argv[2]) : 1;
  int listeners[64];
  if (count < 1 || count > 64) return fprintf(stderr, "1 to 64 threads\n"), 2;
  signal(SIGPIPE, SIG_IGN);
  context = SSL_CTX_new(TLS_server_method());
  bench_use_papers(context);
  SSL_CTX_set_read_ahead(context, 1);  // a record in one read, not its head first
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  for (int i = 0; i < count; ++i) listeners[i] = listen_on(&port);
  fprintf(stderr, "serving 127.0.0.1:%d\n", port);
  for (int i = 1; i < count; ++i) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve, &listeners[i]) != 0) die("pthread_create");
  }
  serve(&listeners[0]);
}
