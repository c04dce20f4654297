// TCP echo on bare epoll: level-triggered, an epoll and a listener (SO_REUSEPORT) a thread. What the others are held
// to.

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static void die(const char* what) {
  perror(what);
  exit(1);
}

static void watch(int epoll, int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
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

static void* serve(void* of_listener) {
  const int listener = *(int*)of_listener;
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  watch(epoll, listener);
  char buffer[16 * 1024];
  for (;;) {
    struct epoll_event events[128];
    const int count = epoll_wait(epoll, events, 128, -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[i].data.fd;
      if (fd == listener) {
        const int accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted >= 0) watch(epoll, accepted);
        continue;
      }
      const ssize_t n = recv(fd, buffer, sizeof buffer, 0);
      // A client that does not take its answers is dropped: here, where a real server would have to keep them.
      if ((n > 0 && send(fd, buffer, (size_t)n, MSG_NOSIGNAL) == n) || (n < 0 && errno == EAGAIN)) continue;
      close(fd);
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
  for (int i = 0; i < count; ++i) listeners[i] = listen_on(&port);
  fprintf(stderr, "serving 127.0.0.1:%d\n", port);
  for (int i = 1; i < count; ++i) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve, &listeners[i]) != 0) die("pthread_create");
  }
  serve(&listeners[0]);
}
