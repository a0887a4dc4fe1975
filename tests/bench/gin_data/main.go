// The list of users (4.2 of the documents) by Gin and its ORM, from the table that rest_api has made.
//
// usage: gin-data sqlite3|mysql|postgres SOURCE; prints where it listens
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/jinzhu/gorm"
	_ "github.com/jinzhu/gorm/dialects/mysql"
	_ "github.com/jinzhu/gorm/dialects/postgres"
	_ "github.com/jinzhu/gorm/dialects/sqlite"
)

// Seconds since 1970, as rest_api keeps them and as it answers them.
type seconds int64

func (s seconds) MarshalJSON() ([]byte, error) {
	return []byte(`"` + time.Unix(int64(s), 0).UTC().Format(time.RFC3339) + `"`), nil
}

type user struct {
	ID        int64   `json:"id"`
	Name      string  `json:"name"`
	Email     string  `json:"email"`
	CreatedAt seconds `json:"created_at"`
}

func (user) TableName() string { return "users" }

func pattern(search string) string {
	return "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(search) + "%"
}

func list(db *gorm.DB) gin.HandlerFunc {
	return func(c *gin.Context) {
		page, err := strconv.Atoi(c.DefaultQuery("page", "1"))
		size, err2 := strconv.Atoi(c.DefaultQuery("size", "10"))
		if err != nil || err2 != nil || page < 1 || size < 1 || size > 100 {
			c.JSON(http.StatusBadRequest, gin.H{"error": "请求参数错误"})
			return
		}
		found := db.Model(&user{})
		if search := c.Query("search"); search != "" {
			like := pattern(search)
			found = found.Where("LOWER(name) LIKE LOWER(?) ESCAPE '!' OR LOWER(email) LIKE LOWER(?) ESCAPE '!'", like, like)
		}
		var total int
		users := []user{}
		err = found.Count(&total).Error
		if err == nil {
			err = found.Select("id, name, email, created_at").Order("id").Offset((page - 1) * size).Limit(size).Find(&users).Error
		}
		if err != nil {
			c.JSON(http.StatusInternalServerError, gin.H{"error": err.Error()})
			return
		}
		c.JSON(http.StatusOK, gin.H{
			"data":       users,
			"pagination": gin.H{"page": page, "size": size, "total": total},
			"message":    "获取用户列表成功",
		})
	}
}

func main() {
	db, err := gorm.Open(os.Args[1], os.Args[2])
	if err != nil {
		panic(err)
	}
	db.DB().SetMaxOpenConns(100)
	db.DB().SetMaxIdleConns(100)
	gin.SetMode(gin.ReleaseMode)
	gin.DefaultWriter = os.Stderr
	r := gin.Default()
	r.GET("/api/v1/users/", list(db))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr())
	panic(http.Serve(listener, r))
}
