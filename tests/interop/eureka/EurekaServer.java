// SPDX-License-Identifier: Apache-2.0
// A Eureka server; its port and all else by arguments (--server.port=...).
package sonde.tests.eureka;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.netflix.eureka.server.EnableEurekaServer;

@SpringBootApplication
@EnableEurekaServer
public class EurekaServer {
    public static void main(String[] arguments) {
        SpringApplication.run(EurekaServer.class, arguments);
    }
}
